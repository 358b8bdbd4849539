"""Write docs/cost.md: what `make bench` measured, beside what was aimed at. `--check` fails when
the page on disk is not what this makes.

    python docs/cost.py [--check]
"""

from __future__ import annotations

import re
import sys

from generated import FOLDER, write_or_check

TEXT = """\
# What a learned mixture costs

Written by `docs/cost.py` from what `make bench` printed ([measured/](measured)), on two shared CPU
cores without a GPU. The two sides of each ratio are interleaved in one process, on one thread;
figures are the median [smallest, largest] of several repeats of processor time.

## The losses of rows

All that the default measure (`training_losses`) adds to a training step, whatever the number of
tasks: the losses of the rows that it trains on, from the logits that are there. Two numbers a row
are then summed up by task.

{row_losses_cost}

A third of the tokens are supervised. What the head makes of the vocabulary weighs most in a small
model with a large one.

## A meta step of gradient products

`measure: products`. Time of a meta step over that of a training step on the same tokens, and peak
memory beyond that of training, over the bytes of the trained parameters (v itself is 1).

The goal for `in_backward`, the default estimator, is at most 1.4, within 10 % from 4 to 256 tasks,
and at most 1.1 times the parameters. The pass over validation tokens for v is about 1 of the 1.4.
The rest is reading the scores off the training backward: one matrix product for each layer beside
the three of a training step. Neither depends on the number of tasks.

`doge` is DoGE's own loop (arXiv 2310.15393) with a validation target, `doge_port` the same scores
beside a trainer's step, both written from their formulas. DoGE's own loop is cheap for few tasks,
because the gradients of the tasks make up the training step; but it stores them all, and runs at
every step.

{meta_step_cost}

## Micro-batches of one task

`split_batches` takes the rows of a step's micro-batches task by task. It adds what smaller
micro-batches cost: little where a part holds a hundred tokens or more, much where it holds twenty.
Time is over a training step on the same tokens, as above, v included.

{split_batches_cost}

On a GPU, which was not measured, a part is to hold more tokens before it is worth it; `auto` asks
for 512, and takes the finite difference before it otherwise, as it does where parameters are
sharded.

## Memory under FSDP2

`in_backward` keeps v sharded as the parameters are, and makes a module's part of it whole inside
that module's own backward. `v` is what a process holds of v, `reading` the peak of a meta step
beyond that of a training step; both over the bytes of the trained parameters of all processes
together, for the process with most. One process does not shard. Where at most 5 % of the model is
trained (LoRA), each process holds v whole instead, which is little and gathers nothing.

{fsdp_memory}

## Memory under ZeRO-3

The same under DeepSpeed ZeRO-3, with buffers as large as Transformers' `auto` makes them.

{zero3_memory}

## Large vocabularies

At the vocabularies of Qwen3 (151,936) and Gemma 3 (262,144) the logits of all tokens are the
largest tensor of a training step, and a fused loss (Liger's, cut cross-entropy) never makes them.
Nor does anything that measures for the mixture: the head sees supervised tokens, in chunks of 2^24
logits (64 MiB in float32, of which one tensor is held; as much again where the model computes in 16
bits or caps its logits, three times as much again where the head has adapters or hooks), whatever
the vocabulary and the micro-batch.
Where the head is trained, v holds one gradient of it more than training does. `beyond the step` is
over the training step with the fused loss; v itself, of the trained parameters' size, is in the row
`v` and is held beside the two that use it.

The body is next to nothing here, so these are the worst ratios of time: all is the head's. v takes
about what a fused training step takes, as it is one
([head_loss.py](../adapt_axolotl/metagradient/head_loss.py)): the weight of each token is known
before, so the gradient is made with the logits, in three products with the head's weight, two where
that is frozen. At the two large vocabularies that is 1.00 to 1.14 of the step, and .99 to 1.08 over
four micro-batches of step and v (the last lines): part of the rest is the memory of v itself, new
once a meta step. It was 1.7 to 1.9, of a slower stand-in, while a backward made the logits again.
Losses of rows under a fused loss apply the head once more, one product beside three; reading a
trained head takes two, the logits and what they are along v. In Qwen3-0.6B the head is about a
quarter of a step, in larger models less. The check runs once a run. The fused loss is a stand-in in
plain PyTorch ([fused_loss.py](../benchmarks/fused_loss.py)), which does the same for the whole
batch in the same way and holds less than Liger's kernel did under Triton's interpreter. Not on a
GPU yet. Under FSDP2 and ZeRO-3 a head's weight is whole only within the model's own forward, so
there the logits of all supervised tokens of a micro-batch are held at once.

{vocabulary_memory}

## The memory that a plan tells

`adapt-axolotl plan RECIPE --gpu 24` counts what a training step holds on tensors that have a shape
and no data. Below, the same step with data on a CPU, counted by the allocator; both beyond the
weights. It is within 2 % without a fused loss and with a frozen head. With a fused loss and a
trained head it is too high by up to one gradient of the head, which shows where the head is most of
the model: Liger's kernel makes one anew for each chunk of tokens, which the stand-in does not, and
on tensors without data gradients of tied embeddings are not added in place. On top of it come
weights and states of the optimizer by their types, and 0.5 GiB for CUDA; fragmentation and kernels
that hold more than PyTorch's own are not in it, and it was not compared with a GPU. So `plan` tells
it with a margin of 20 %.

{plan_memory}

## A whole run by gradient products

Processor time a supervised token of a learned run at the default schedule, over that of a uniform
run; the two take their steps in turn. The last line compares two uniform runs and shows the noise.
The goal is at most 1.05. The schedule
([schedule.py](../adapt_axolotl/meta_step/schedule.py)) is designed to take about 4 % of the
training time, whatever the number of tasks; if the rows that fit are too few for all tasks, the
tasks take turns.

{run_overhead}

## Tasks that a step holds no row of

These tasks keep their last score, or rows are drawn for them (`finite_difference`). Measured on the
nine synthetic tasks, with steps of fewer rows than tasks and of more. The loss is that of the
learnable tasks, mean ± standard deviation over three seeds.

{absent_tasks}

The difference is within the spread of the seeds. `auto` reads the backward where a step holds at
least one row for each task, and draws rows otherwise.

## Many tasks and rows

The sampler by itself, with index arrays and no model. Its part of a checkpoint grows with the
number of tasks, not of rows.

{many_rows}

## Start-up

From `axolotl train` to the first optimizer step with prepared data and 20 tasks, against Axolotl
by itself on the same recipe. The goal is at most 1.1.

{start_up}

## On a GPU

`benchmarks/gpu.py` runs a Qwen3-0.6B shape in bfloat16 with rows of 2,048 tokens where there is an
accelerator, and a small shape where there is none; its first line says which it was. `error` is the
largest difference from one backward a task, over the largest score.

{gpu}
"""


def main() -> int:
    names = re.findall(r"\{(\w+)\}", TEXT)
    content = TEXT.format(**{name: measured(name) for name in names})
    return write_or_check({"cost.md": content}, __file__)


def measured(name: str) -> str:
    """What a bench printed: its table as it is, lines around it as paragraphs of their own."""
    lines = (FOLDER / "measured" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
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
    sys.exit(main())
