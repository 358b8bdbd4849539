"""A whole run of the project's own (`AdaptRun`) in a plain PyTorch loop, without Axolotl: what the
benchmarks of runs share. K tasks.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from adapt_axolotl.config.learned import OVERHEAD
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.learner import MetaLearner, MetaSettings
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.schedule import MetaSchedule, meta_schedule
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape


@dataclass(frozen=True)
class Rows:
    """Tokenised rows of K tasks, `input_ids` and `labels`."""

    rows: Dataset
    pools: TaskPools

    def measuring(self, micro_batch_rows: int) -> MeasuringRows:
        """In micro-batches of that many rows, or of more where they are short."""
        return MeasuringRows(
            self.rows,
            self.pools,
            pad_token_id=0,
            micro_batch_tokens=micro_batch_rows * int(self.pools.lengths.max()),
            device=torch.device("cpu"),
        )


class PlainRun:
    """A run at the default schedule of meta steps, made ready: the losses before it are taken.

    Args:
        budget: supervised tokens.
        steps: optimizer steps that it buys, about.
        estimator: of the task scores; None for a uniform mixture.
        max_steps: ends the run before the budget does.

    Attributes:
        run: its ledger, mixture and last losses.
        seconds: of processor time in its optimizer steps so far.
        schedule: of its meta steps; None with a uniform mixture.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        train: Rows,
        validation: Rows,
        *,
        budget: int,
        steps: int,
        rows_per_step: int,
        estimator: Estimator | None,
        learning_rate: float,
        seed: int = 0,
        max_steps: int | None = None,
    ) -> None:
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
            initial=np.full(count, 1 / count),
            max_steps=max_steps,
        )
        self._model = model
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
        self._rows, validation_rows = (
            train.measuring(rows_per_step),
            validation.measuring(rows_per_step),
        )
        learner: MetaLearner | None = None
        self.schedule: MetaSchedule | None = None
        if estimator is not None:
            self.schedule = meta_schedule(
                steps=steps,
                rows_per_step=rows_per_step,
                num_tasks=count,
                estimator=estimator,
                look_ahead=False,
                overhead=OVERHEAD,
            )
            learner = MetaLearner(
                LearnedMixture(train.pools.tasks, objective("relative"), steps=GradientSteps()),
                model,
                self._rows,
                validation_rows,
                MetaSettings(
                    update_every=self.schedule.update_every,
                    start_after=0.0,
                    rows_per_task=self.schedule.rows_per_task,
                    tasks_at_once=self.schedule.tasks_at_once,
                    look_ahead=False,
                    estimators=(estimator, PER_TASK),
                    seed=seed,
                    read_steps=self.schedule.read_steps,
                ),
                Ranks(),
                lambda: learning_rate,
                lambda: evaluation_mode(model),
            )

        def measure(rows_per_task: int) -> np.ndarray:
            rows = validation_rows.sample(rows_per_task, seed=0)
            with evaluation_mode(model):
                return validation_losses(model, validation_rows, rows, count, Ranks())

        self.run = AdaptRun(plan, learner, measure, None)
        self.run.start()
        self.seconds = 0.0
        self._step = 0

    @property
    def seconds_a_token(self) -> float:
        return self.seconds / self.run.ledger.used

    def step(self) -> bool:
        """One optimizer step, timed; gives whether there is another."""
        started = time.process_time()  # does not count what else the machine does
        train_one_step(self.run, self._model, self._optimizer, self._rows, self._step)
        more = self.run.end_step(self._step, record=False)
        self.seconds += time.process_time() - started
        self._step += 1
        return more

    def finish(self) -> None:
        """Take the last losses."""
        self.run.finish()


def train_one_step(
    run: AdaptRun,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: MeasuringRows,
    step: int,
) -> None:
    run.begin_step(step)
    block = run.sampler.block(step)
    assert block is not None
    parts = rows.parts(np.array(block.rows()))
    batches = [rows.batch(part) for part in parts]
    weight = 1.0 / sum(float(batch.tokens_of_rows().sum()) for batch in batches)
    for part, batch in zip(parts, batches, strict=True):
        reading: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if run.meta_step is not None and run.meta_step.reading:
            assert not run.meta_step.splits, "every module of this model has a rule"
            reading = run.meta_step.training_backward(
                batch.labels, batch.row_of_token, batch.task_of_row, lambda: weight
            )
        with reading:
            sums, tokens = row_losses(model, batch, whole_logits=True)  # as Trainer does
            (sums.sum() * weight).backward()
        run.take_losses(part.tolist(), sums.detach().numpy(), tokens.numpy())
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    run.commit_step(step)
