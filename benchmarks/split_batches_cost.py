"""What a meta step costs whose training step is split by task, beside one with a finite difference,
by the length of rows and the number of tasks.

    python benchmarks/split_batches_cost.py [--repeats 3]

Time and memory as in meta_step_cost.py. `a part` is how many tokens go through the model at once
where it is split, on average.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

import torch
from meta_step_cost import extra_memory, meta_step_ratios
from meta_steps import SMALL, Bench

LONGER = dataclasses.replace(SMALL, rows=32, tokens=128, micro_batch=4)
# Shape, tasks, with adapters.
CASES = (
    (LONGER, 4, False),
    (LONGER, 20, False),
    (LONGER, 20, True),
    (SMALL, 4, False),
    (SMALL, 20, False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{SMALL.name}; {SMALL.rows * SMALL.tokens:,} tokens a step; one thread")
    print(
        "| training | tokens of a row | rows of a micro-batch | K | a part | loop | "
        "meta step / training step |"
    )
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for shape, tasks, lora in CASES:
        bench = Bench(shape, tasks, lora=lora, dtype=torch.float32, device="cpu")
        parts = sum(len(batch.task_of_row.unique()) for batch in bench.training)
        tokens = shape.rows * shape.tokens / parts
        for loop in ("split_batches", "finite_difference"):
            ratios = meta_step_ratios(bench, loop, repeats)
            line = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            kind = "LoRA" if lora else "full"
            print(
                f"| {kind} | {shape.tokens} | {shape.micro_batch} | {tasks} | {tokens:.0f} tokens "
                f"| {loop} | {line} |",
                flush=True,
            )
    for kind, lora in (("full", False), ("LoRA", True)):
        of_each = (
            f"{loop} {extra_memory(loop, 20, lora):.2f}"
            for loop in ("split_batches", "finite_difference")
        )
        print(f"extra memory / parameters, {kind}, K=20: {', '.join(of_each)}", flush=True)


if __name__ == "__main__":
    main()
