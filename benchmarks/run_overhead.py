"""What a learned mixture adds to a whole run at the default schedule, against a uniform run.

    python benchmarks/run_overhead.py [--repeats 3] [--steps 250]

Both runs are the project's own (`AdaptRun`) in a plain PyTorch loop on one model and rows. They
take their optimizer steps in turn within one process, so that a spell in which the machine is slow
falls on both alike. Ratios of processor time a supervised token, median [least, most]; the last
line is a uniform run against another, what noise alone makes. The losses before, which both runs
take, are not timed.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from datasets import Dataset
from meta_steps import Shape, make_model
from plain_run import PlainRun, Rows

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.metagradient.estimators import estimator as estimator_of

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
            print(row(tasks, estimator, arguments.repeats, arguments.steps), flush=True)
    print(row(20, None, arguments.repeats, arguments.steps), flush=True)


def row(tasks: int, estimator: str | None, repeats: int, steps: int) -> str:
    """A line of the table: runs of this estimator against uniform ones."""
    train, validation = random_rows(tasks, 64, 0), random_rows(tasks, 8, 1)
    ratios = []
    for _ in range(repeats):
        learned = make_run(train, validation, steps, estimator)
        uniform = make_run(train, validation, steps, None)
        while [learned.step(), uniform.step()] == [True, True]:
            pass
        ratios.append(learned.seconds_a_token / uniform.seconds_a_token)
    words = "uniform against uniform"
    if (schedule := learned.schedule) is not None:
        words = (
            f"every {schedule.update_every} steps, "
            f"{schedule.rows_per_task} rows of {schedule.tasks_at_once} tasks"
        )
    line = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
    return f"| {tasks} | {estimator or 'none'} | {words} | {line} |"


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


def make_run(train: Rows, validation: Rows, steps: int, estimator: str | None) -> PlainRun:
    return PlainRun(
        make_model(SHAPE, lora=False, dtype=torch.float32, device="cpu"),
        train,
        validation,
        budget=steps * SHAPE.rows * SHAPE.tokens,
        steps=steps,
        rows_per_step=SHAPE.rows,
        estimator=None if estimator is None else estimator_of(estimator),
        learning_rate=1e-3,
        max_steps=steps,
    )


if __name__ == "__main__":
    main()
