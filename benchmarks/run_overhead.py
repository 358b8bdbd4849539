"""What a learned mixture adds to a whole run at the default schedule, against a uniform run.

    python benchmarks/run_overhead.py [--repeats 3] [--steps 250]

Both runs are the project's own (`AdaptRun`) in a plain PyTorch loop on one model and rows; they
alternate within one process. Ratios of processor time a supervised token, median [least, most].
The losses before and after, which both runs take, are not timed.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from datasets import Dataset
from meta_steps import Shape, make_model
from plain_run import PlainRun, Rows, plain_run

from adapt_axolotl.pools import TaskPools

SHAPE = Shape("Qwen3, 4 layers of 128", 128, 384, 4, 4, 2, 32, 4096, 32, 32, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    arguments = parser.parse_args()
    print(f"{SHAPE.name}; {SHAPE.rows} rows a step; about {arguments.steps} steps a run")
    print("| K | task scores | schedule | learned / uniform |")
    print("| ---: | --- | --- | ---: |")
    for tasks in (4, 20, 64, 256):
        # What `auto` takes: finite differences where a step holds fewer rows than tasks.
        estimators = ("in_backward", "finite_difference")[: 1 if tasks <= SHAPE.rows else 2]
        for estimator in estimators:
            train, validation = random_rows(tasks, 64, 0), random_rows(tasks, 8, 1)
            ratios, words = [], ""
            for _ in range(arguments.repeats):
                learned = run(train, validation, arguments.steps, estimator)
                uniform = run(train, validation, arguments.steps, None)
                ratios.append(learned.seconds_a_token / uniform.seconds_a_token)
                assert learned.schedule is not None
                words = (
                    f"every {learned.schedule.update_every} steps, "
                    f"{learned.schedule.rows_per_task} rows of "
                    f"{learned.schedule.tasks_at_once} tasks"
                )
            line = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
            print(f"| {tasks} | {estimator} | {words} | {line} |", flush=True)


def random_rows(num_tasks: int, rows_per_task: int, seed: int) -> Rows:
    """As many of each task, of half to all of the shape's tokens."""
    rng = np.random.default_rng(seed)
    count = num_tasks * rows_per_task
    lengths = rng.integers(SHAPE.tokens // 2, SHAPE.tokens + 1, count)
    ids = [rng.integers(3, SHAPE.vocabulary, length).tolist() for length in lengths]
    labels = [[-100, *row[1:]] for row in ids]
    names = tuple(f"task_{number}" for number in range(num_tasks))
    pools = TaskPools(names, np.arange(count) % num_tasks, lengths - 1, lengths)
    return Rows(Dataset.from_dict({"input_ids": ids, "labels": labels}), pools)


def run(train: Rows, validation: Rows, steps: int, estimator: str | None) -> PlainRun:
    return plain_run(
        make_model(SHAPE, lora=False, dtype=torch.float32, device="cpu"),
        train,
        validation,
        budget=steps * SHAPE.rows * SHAPE.tokens,
        steps=steps,
        rows_per_step=SHAPE.rows,
        estimator=estimator,
        learning_rate=1e-3,
        max_steps=steps,
    )


if __name__ == "__main__":
    main()
