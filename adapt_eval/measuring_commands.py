"""The commands that measure: suites, run, fetch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from adapt_eval.installed import need
from adapt_eval.json_option import Json

SuiteOption = Annotated[str, typer.Option(help="A suite's name, or a YAML file of your own.")]
Roots = Annotated[
    list[str] | None,
    typer.Option("--data-root", help="Mirror of datasets in the Hub's layout; repeatable."),
]


def suites(
    name: Annotated[str | None, typer.Argument(help="A suite's name, or a YAML file.")] = None,
    as_json: Json = False,
) -> None:
    """List the suites, or the benchmarks of one.

    Of each benchmark it shows family, metric, what it needs, shots, items, and the scores of
    guessing.
    """
    from adapt_eval.suite import load_suite, suite_names

    if name is None:
        names = suite_names()
        typer.echo(json.dumps(names) if as_json else "\n".join(names))
        return
    suite = load_suite(name)
    if as_json:
        typer.echo(suite.model_dump_json(indent=2))
        return
    from adapt_eval.report.table import suite_table

    typer.echo(suite_table(suite))


def run(
    run: Annotated[
        str,
        typer.Argument(
            help="Directory of a model, of a PEFT adapter or of a training run, or a name on the "
            "Hub with its owner (org/model)."
        ),
    ],
    suite: SuiteOption = "ood11",
    only: Annotated[
        list[str] | None, typer.Option(help="Measure only this benchmark; repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this benchmark out; repeatable.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Where results go. Default: RUN/eval/SUITE.")
    ] = None,
    data_root: Roots = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Only the first N items of each task, and of each subtask of a group."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="base, or chat, which applies the chat template where answers are generated."
        ),
    ] = "base",
    apply_chat_template: Annotated[
        bool,
        typer.Option(
            "--apply-chat-template",
            help="Apply the chat template to every benchmark, as lm-eval's option does.",
        ),
    ] = False,
    fewshot_as_multiturn: Annotated[
        bool, typer.Option(help="With a chat template, examples are turns of the conversation.")
    ] = True,
    batch_size: Annotated[str, typer.Option(help="A number, auto, or auto:N.")] = "auto",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, cpu, mps, or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="auto (the model's own), float32, bfloat16...")
    ] = "auto",
    backend: Annotated[
        str,
        typer.Option(
            help="hf, vllm where it is installed, or for an OpenAI-compatible server that serves "
            "RUN, local-completions or local-chat-completions."
        ),
    ] = "hf",
    model_args: Annotated[
        str | None,
        typer.Option(
            help="More arguments of lm-eval's model, as parallelize=True (several GPUs), with "
            "vllm tensor_parallel_size=2,gpu_memory_utilization=0.8, or with a server "
            "base_url=http://localhost:8000/v1/completions,num_concurrent=8."
        ),
    ] = None,
    allow_code_execution: Annotated[
        bool,
        typer.Option(
            "--allow-code-execution",
            help="Run programs that the model writes, where bubblewrap contains them.",
        ),
    ] = False,
    unsafe: Annotated[
        bool,
        typer.Option(
            "--unsafe",
            help="With --allow-code-execution: run them without bubblewrap too. They then have "
            "your rights.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Measure again, and replace finished results.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything but load no model."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on a suite of benchmarks.

    After an interruption the same command continues with the benchmarks that are not finished.
    """
    need("run", "lm_eval", "torch", "transformers")
    from adapt_eval.progress import Reporter
    from adapt_eval.report.table import plan_table, scores_table
    from adapt_eval.run import Options, plan, run_suite

    options = Options(
        run=run,
        suite=suite,
        only=only or (),
        skip=skip or (),
        output=output,
        data_roots=data_root or (),
        limit=limit,
        profile=profile,
        apply_chat_template=apply_chat_template,
        fewshot_as_multiturn=fewshot_as_multiturn,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        backend=backend,
        model_args=model_args,
        allow_code_execution=allow_code_execution,
        unsafe=unsafe,
        force=force,
    )
    with Reporter() as reporter:
        if dry_run:
            planned = plan(options, reporter)
            typer.echo(planned.model_dump_json(indent=2) if as_json else plan_table(planned))
        else:
            scores = run_suite(options, reporter)
            typer.echo(scores.model_dump_json(indent=2) if as_json else scores_table(scores))


def fetch(
    directory: Annotated[
        Path, typer.Argument(help="The mirror to fill, for `adapt-eval run --data-root`.")
    ],
    suite: SuiteOption = "ood11",
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this benchmark out; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy the datasets of a suite from the Hub into DIRECTORY. Needs a network."""
    need("fetch", "lm_eval", "torch", "huggingface_hub")
    from adapt_eval.fetch import fill
    from adapt_eval.progress import Reporter
    from adapt_eval.suite import load_suite

    with Reporter() as reporter:
        fill(directory, load_suite(suite).select((), skip or ()), reporter)
    typer.echo(json.dumps({"mirror": str(directory)}) if as_json else str(directory))
