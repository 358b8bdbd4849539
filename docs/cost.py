"""Write docs/cost.md: what `make bench` measured, beside what was aimed at. `--check` fails when
the page on disk is not what this makes.

    python docs/cost.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "cost.md"
TEXT = """\
# What a learned mixture costs

Written by `docs/cost.py` from what `make bench` printed ([measured/](measured)), on two shared CPU
cores without a GPU. Ratios are taken within one process, against the thing that they are ratios to,
in turn; median [least, most] of several repeats, of processor time on one thread.

## A meta step

Time over that of a training step on the same tokens; peak memory beside training's, over the bytes
of the trained parameters (v itself is 1).

Aimed at, for `in_backward`, the default: 1.4 at most, within 10 % from 4 to 256 tasks, and 1.1
times the parameters. A pass over as many validation tokens for v is about 1 of it, reading the
scores off the training backward the rest: one matrix product more a layer beside the three of a
step. Neither knows how many tasks there are.

`doge` is DoGE's own loop (arXiv 2310.15393) with a validation target, `doge_port` the same scores
beside a trainer's step, both written anew from their formulas. DoGE's own loop is cheap for few
tasks because the gradients of the tasks are the training step; but it keeps them all, and runs at
every step.

{meta_step_cost}

## A whole run

Processor time a supervised token of a learned run at the default schedule, over that of a uniform
run; the two take their steps in turn, and the last line is a uniform run against another, what
noise makes. Aimed at: 1.05 at most. The schedule
([schedule.py](../adapt_axolotl/meta_step/schedule.py)) is made for 1.04, whatever the number of
tasks: where the rows that this pays for are too few for all, tasks take turns.

{run_overhead}

## Tasks that a step holds no row of

They keep their last score, with its age, or rows are drawn for them (`finite_difference`). On the
nine made tasks, with steps of fewer rows than tasks and of more; the loss is of the tasks that can
be learned, mean ± standard deviation over three seeds.

{absent_tasks}

Neither is better beyond the seeds. `auto` reads the backward where a step holds at least a row a
task, and draws rows where most scores would be old.

## Many tasks and rows

The sampler alone, with index arrays and no model. What a checkpoint keeps of it depends on the
tasks and not on the rows.

{many_rows}

## Start-up

From `axolotl train` to the first optimizer step with prepared data and 20 tasks, against Axolotl
alone on the same recipe. Aimed at: 1.1 at most.

{start_up}

## On an accelerator

`benchmarks/gpu.py` runs a Qwen3-0.6B shape in bfloat16 with rows of 2,048 tokens where there is an
accelerator, and a small shape where there is none; its first line says which it was. `error` is the
largest difference from one backward a task, over the largest score.

{gpu}
"""


def main(arguments: list[str]) -> int:
    names = re.findall(r"\{(\w+)\}", TEXT)
    content = TEXT.format(**{name: measured(name) for name in names})
    if "--check" not in arguments:
        PAGE.write_text(content, encoding="utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != content:
        print("docs/cost.md is not of docs/measured; run python docs/cost.py")
        return 1
    return 0


def measured(name: str) -> str:
    """What a bench printed: its table as it is, lines around it as paragraphs of their own."""
    lines = (DOCS / "measured" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    parts: list[str] = []
    for line in lines:
        row = line.startswith("|")
        if row and parts and parts[-1].startswith("|"):
            parts[-1] += f"\n{line}"
        elif not row and parts and not parts[-1].startswith("|"):
            parts[-1] += f"  \n{line}"
        else:
            parts.append(line)
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
