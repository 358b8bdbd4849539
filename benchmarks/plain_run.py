"""A whole run of the project's own (`AdaptRun`) in a plain PyTorch loop, without Axolotl: what the
benchmarks of runs share. K tasks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from adapt_axolotl.meta_schedule import MetaSchedule, meta_schedule
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


@dataclass(frozen=True)
class Rows:
    """Tokenised rows of K tasks, `input_ids` and `labels`."""

    rows: Dataset
    pools: TaskPools

    def probe(self, micro_batch_rows: int) -> ProbeRows:
        return ProbeRows(
            self.rows,
            self.pools,
            pad_token_id=0,
            micro_batch_rows=micro_batch_rows,
            device=torch.device("cpu"),
        )


@dataclass(frozen=True)
class PlainRun:
    """A finished run.

    Attributes:
        run: its ledger, mixture and last losses.
        seconds: of processor time, from the first optimizer step to the last.
        schedule: of its meta steps; None with a uniform mixture.
    """

    run: AdaptRun
    seconds: float
    schedule: MetaSchedule | None

    @property
    def seconds_a_token(self) -> float:
        return self.seconds / self.run.ledger.used


def plain_run(
    model: torch.nn.Module,
    train: Rows,
    validation: Rows,
    *,
    budget: int,
    steps: int,
    rows_per_step: int,
    estimator: str | None,
    learning_rate: float,
    seed: int = 0,
    max_steps: int | None = None,
) -> PlainRun:
    """Train `model` at the default schedule of meta steps.

    Args:
        budget: supervised tokens.
        steps: optimizer steps that it buys, about.
        estimator: of the task scores; None for a uniform mixture.
        max_steps: ends the run before the budget does.
    """
    count = len(train.pools.tasks)
    plan = RunPlan(
        pools=train.pools,
        budget=budget,
        shape=BlockShape(1, rows_per_step),
        unit="tokens",
        ordered=False,
        seed=seed,
        max_repeats=None,
        charge_meta_tokens=False,
        proportions=np.full(count, 1 / count),
        max_steps=max_steps,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    training_rows, validation_rows = train.probe(rows_per_step), validation.probe(rows_per_step)
    meta, schedule = None, None
    if estimator is not None:
        schedule = meta_schedule(
            steps=steps,
            rows_per_step=rows_per_step,
            num_tasks=count,
            estimator=estimator,
            look_ahead=False,
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
                seed=seed,
            ),
            Ranks(),
            lambda: learning_rate,
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
    seconds = time.process_time() - started
    run.finish()
    return PlainRun(run, seconds, schedule)


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
