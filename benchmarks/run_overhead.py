"""What a learned mixture adds to a whole run at the default schedule, against a uniform run.

    python benchmarks/run_overhead.py [--repeats 3] [--steps 200]

Both runs are the project's own (`AdaptRun`) in a plain PyTorch loop on one model and rows; they
alternate within one process. Ratios of processor time a supervised token, median [least, most].
The losses before and after, which both runs take, are not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from datasets import Dataset
from meta_steps import Shape, make_model

from adapt_axolotl.meta_schedule import meta_schedule
from adapt_axolotl.meta_step import MetaSettings, MetaStep
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives import objective
from adapt_axolotl.pools import TaskPools
from adapt_axolotl.probe import ProbeRows
from adapt_axolotl.ranks import Ranks
from adapt_axolotl.run import AdaptRun, RunPlan
from adapt_axolotl.sampling import BlockShape
from adapt_axolotl.validation import validation_losses

SHAPE = Shape("Qwen3, 4 layers of 128", 128, 384, 4, 4, 2, 32, 4096, 32, 32, 32)


class Data:
    """Random rows of K tasks: as many of each, lengths from half to all of the shape's tokens."""

    def __init__(self, num_tasks: int, rows_per_task: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        count = num_tasks * rows_per_task
        lengths = rng.integers(SHAPE.tokens // 2, SHAPE.tokens + 1, count)
        ids = [rng.integers(3, SHAPE.vocabulary, length).tolist() for length in lengths]
        labels = [[-100, *row[1:]] for row in ids]
        names = tuple(f"task_{number}" for number in range(num_tasks))
        self.pools = TaskPools(names, np.arange(count) % num_tasks, lengths - 1, lengths)
        self.rows = Dataset.from_dict({"input_ids": ids, "labels": labels})

    def probe(self) -> ProbeRows:
        return ProbeRows(
            self.rows,
            self.pools,
            pad_token_id=0,
            micro_batch_rows=SHAPE.micro_batch,
            device=torch.device("cpu"),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{SHAPE.name}; {SHAPE.rows} rows a step; about {arguments.steps} steps a run")
    print("| K | task scores | schedule | learned / uniform |")
    print("| ---: | --- | --- | ---: |")
    for tasks in (4, 20, 64, 256):
        for estimator in ("in_backward", "finite_difference"):
            train, validation = Data(tasks, 64, 0), Data(tasks, 8, 1)
            ratios = []
            for _ in range(arguments.repeats):
                learned, schedule = seconds_a_token(train, validation, arguments.steps, estimator)
                uniform, _ = seconds_a_token(train, validation, arguments.steps, None)
                ratios.append(learned / uniform)
            line = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
            print(f"| {tasks} | {estimator} | {schedule} | {line} |", flush=True)


def seconds_a_token(
    train: Data, validation: Data, steps: int, estimator: str | None
) -> tuple[float, str]:
    """Of one run, and its meta schedule in words; without an estimator the mixture is uniform."""
    count = len(train.pools.tasks)
    plan = RunPlan(
        pools=train.pools,
        budget=steps * SHAPE.rows * SHAPE.tokens,
        shape=BlockShape(1, SHAPE.rows),
        unit="tokens",
        ordered=False,
        seed=0,
        max_repeats=None,
        charge_meta_tokens=False,
        proportions=np.full(count, 1 / count),
        max_steps=steps,
    )
    model = make_model(SHAPE, lora=False, dtype=torch.float32, device="cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    training_rows, validation_rows = train.probe(), validation.probe()
    meta, words = None, ""
    if estimator is not None:
        schedule = meta_schedule(
            steps=steps,
            rows_per_step=SHAPE.rows,
            num_tasks=count,
            estimator=estimator,
            look_ahead=False,
        )
        words = (
            f"every {schedule.update_every} steps, {schedule.rows_per_task} rows of "
            f"{schedule.tasks_at_once} tasks"
        )
        meta = MetaStep(
            LearnedMixture(train.pools.tasks, objective("relative")),
            model,
            training_rows,
            validation_rows,
            MetaSettings(
                update_every=schedule.update_every,
                start_after=0.0,
                rows_per_task=schedule.rows_per_task,
                tasks_at_once=schedule.tasks_at_once,
                look_ahead=False,
                estimators=(estimator, "per_task"),
                seed=0,
            ),
            Ranks(),
            lambda: 1e-3,
        )

    def measure(rows_per_task: int | None) -> np.ndarray:
        rows = validation_rows.sample(rows_per_task, seed=0)
        return validation_losses(model, validation_rows, rows, count, Ranks())

    run = AdaptRun(plan, meta, measure, None)
    run.start()
    started = time.process_time()  # does not count what else the machine does
    step = 0
    more = True
    while more:
        train_one_step(run, model, optimizer, training_rows, step)
        more = run.end_step(step, record=False)
        step += 1
    return (time.process_time() - started) / run.ledger.used, words


def train_one_step(
    run: AdaptRun,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: ProbeRows,
    step: int,
) -> None:
    run.begin_step(step)
    block = run.sampler.plan(step)
    assert block is not None
    (batch,) = rows.batches(np.array(block.rows()))

    def backward() -> float:
        sums, tokens = row_losses(model, batch)
        weight = 1.0 / float(tokens.sum())
        (sums.sum() * weight).backward()
        return weight

    if run.meta is not None and run.meta.listening:
        weight = 1.0 / float(batch.tokens_of_rows().sum())
        with run.meta.training_backward(
            batch.labels, batch.row_of_token, batch.task_of_row, lambda: weight
        ):
            backward()
    else:
        backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    run.commit_step(step)


if __name__ == "__main__":
    main()
