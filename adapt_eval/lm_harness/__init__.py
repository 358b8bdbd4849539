"""The only folder that imports lm-eval (0.4.11). What it does about the traps of that version:

- one call for each benchmark on one loaded model, because shots, limit and template are global to a
  call; this also lets a run resume at the next benchmark;
- no caches: the response cache is not keyed by model, the request cache not by few-shot seed;
- tasks whose stock files break or mislead are replaced by those under `adapt_eval/tasks`;
- the data of a mirror is put into the task's config before the task is built; a training split that
  the mirror lacks is left out if no shots are drawn from it (lm-eval would read it anyway);
- langdetect, which IFEval uses, is seeded;
- one process only: few-shot prompts depend on the number of processes.
"""
