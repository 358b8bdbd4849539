"""How the learned arms of `study.py` learn, and what is seen of it. K tasks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from adapt_axolotl.config.learned import LearnedConfig
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.falls import FallLearner, FallSettings
from adapt_axolotl.meta_step.held_out import HeldOut, HeldOutRows
from adapt_axolotl.meta_step.learner import MetaLearner, MetaSettings
from adapt_axolotl.meta_step.learning import BegunStep, Learner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.schedule import fall_row_cost, fall_schedule, meta_schedule
from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.bounds import Bounds
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.run.plan import RunPlan

LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Learning:
    """How a learned arm learns; defaults are those of a recipe. With `oracle_rows` it measures so
    many validation rows of each task whenever an interval begins, for nothing; with `targets` these
    alone count. With `walk` it does not learn: its logits move at random, by so many nats (standard
    deviation over tasks) at each meta step."""

    measure: str = "training_losses"
    rule: str = "evidence"
    objective: str = "worst_case"
    beta: float | None = None
    targets: tuple[str, ...] = ()
    bounds: tuple[float, ...] | None = None
    overhead: float = 0.04
    start_after: float = 0.06
    entropy_weight: float | None = None
    oracle_rows: int | None = None
    walk: float | None = None


def make_learner(
    learning: Learning,
    plan: RunPlan,
    model: torch.nn.Module,
    rows: MeasuringRows,
    validation: MeasuringRows,
    validation_pools: TaskPools,
) -> Learner:
    """As a recipe would make it."""
    count, estimate = len(plan.pools.tasks), plan.estimate()
    targets = [task in learning.targets for task in plan.pools.tasks]
    chosen = objective(
        learning.objective,
        beta=learning.beta,
        targets=targets if learning.targets else None,
    )
    pull = LearnedConfig(
        measure=learning.measure, rule=learning.rule, entropy_weight=learning.entropy_weight
    ).pull
    steps = GradientSteps(entropy_weight=pull) if learning.rule == "steps" else None
    kind: Callable[..., LearnedMixture] = LearnedMixture
    if learning.walk is not None:
        kind = partial(WalkingMixture, learning.walk, plan.seed)
    mixture = kind(
        plan.pools.tasks,
        chosen,
        bounds=None if learning.bounds is None else Bounds(learning.bounds),
        steps=steps,
        entropy_weight=pull,
        initial=plan.initial,
    )
    if learning.measure == "training_losses":
        curves = CurveSettings(learning.start_after)
        if learning.oracle_rows is not None:
            return OracleLearner(mixture, curves, model, validation, learning.oracle_rows)
        which = HeldOutRows(validation_pools, plan.pools, plan.seed)
        held_out = HeldOut(model, validation, which, Ranks(), lambda: evaluation_mode(model))
        return CurveLearner(mixture, curves, Ranks(), torch.device("cpu"), held_out)
    if learning.measure == "loss_falls":
        falls = fall_schedule(
            steps=estimate.steps,
            row_cost=fall_row_cost(
                validation_pools,
                step_tokens=estimate.step_tokens,
                step_supervised=estimate.step_supervised if plan.charge_meta_tokens else None,
            ),
            overhead=learning.overhead,
            start_after=learning.start_after,
        )
        settings = FallSettings(falls.steps, falls.rows_per_task, plan.seed)
        return FallLearner(
            mixture, model, validation, settings, Ranks(), lambda: evaluation_mode(model)
        )
    products = meta_schedule(
        steps=estimate.steps,
        rows_per_step=estimate.rows_per_step,
        num_tasks=len(learning.targets) or count,
        estimator=IN_BACKWARD,
        look_ahead=False,
        overhead=learning.overhead,
    )
    return MetaLearner(
        mixture,
        model,
        rows,
        validation,
        MetaSettings(
            update_every=products.update_every,
            start_after=learning.start_after,
            rows_per_task=products.rows_per_task,
            tasks_at_once=products.tasks_at_once,
            look_ahead=False,
            estimators=(IN_BACKWARD, PER_TASK),
            seed=plan.seed,
            read_steps=products.read_steps,
        ),
        Ranks(),
        lambda: LEARNING_RATE,
        lambda: evaluation_mode(model),
    )


class WalkingMixture(LearnedMixture):
    """Moves when a learned one would, at random."""

    def __init__(self, size: float, seed: int, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._size = size
        self._random = np.random.default_rng(seed)

    def update_by_falls(self, *arguments: Any, **named: Any) -> MetaUpdate:
        before = self._logits
        update = super().update_by_falls(*arguments, **named)
        self._logits = before + self._size * self._random.normal(size=len(before))
        return replace(update, proportions=self.proportions, logits=self._logits.copy())


class OracleLearner(CurveLearner):
    """Learns from far more rows than training sees: what the default would learn without noise."""

    def __init__(
        self,
        mixture: LearnedMixture,
        settings: CurveSettings,
        model: torch.nn.Module,
        validation: MeasuringRows,
        rows_per_task: int,
    ) -> None:
        super().__init__(mixture, settings, Ranks(), torch.device("cpu"))
        self._model = model
        self._validation = validation
        self._rows_per_task = rows_per_task
        self._measured = 0

    def due(self, step: int, progress: float) -> bool:
        """Right after it has measured."""
        return bool(self._seen.any()) and self._curves.fit() is not None

    def take_rows(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """It has its own."""

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        # What is measured after this step is of the model that all these tokens made.
        self._trained = trained.astype(float)
        if progress >= self._settings.start_after and self._curves.ends(float(trained.sum())):
            rows = self._validation.sample(self._rows_per_task, seed=self._measured)
            self._measured += 1
            with torch.no_grad(), evaluation_mode(self._model):
                for batch in self._validation.batches(rows):
                    sums, tokens = row_losses(self._model, batch)
                    super().take_rows(batch.task_of_row.numpy(), sums.numpy(), tokens.numpy())
        super().end_step(trained, progress, np.ones_like(new))


@dataclass
class Watched:
    """Of the meta steps of a run: their processor time, that of keeping losses for them included,
    and what the last one found. What reading adds to a training backward is not in the time."""

    seconds: float = 0.0
    over_noise: float = math.nan

    def watch(self, learner: Learner) -> None:
        """From here on."""
        if isinstance(learner, CurveLearner):
            for name in ("due", "take_rows", "end_step"):
                setattr(learner, name, self._timed(getattr(learner, name)))
        begin = learner.begin

        def watched(step: int) -> BegunStep:
            begun = time.process_time()
            meta_step = begin(step)
            self.seconds += time.process_time() - begun
            finish = meta_step.finish

            def finished() -> MetaUpdate:
                update = finish()
                self.over_noise = update.over_noise
                return update

            meta_step.finish = finished  # type: ignore[method-assign]
            return meta_step

        learner.begin = watched  # type: ignore[method-assign]

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begun = time.process_time()
            result = call(*arguments)
            self.seconds += time.process_time() - begun
            return result

        return timed
