"""Run meta steps beside a training loop: measure validation losses V and their gradient, then score
every task against it.

    validation rows -> losses V and v = sum_k w_k grad V_k -> a `MetaStep`

One pass over the validation rows gives both V and v, so the weights w are by the losses of the meta
steps before: they are smoothed, and a meta step older hardly differs, for a forward less.

The method itself is in `mixture/` and `metagradient/`; this module runs it on the model that is
being trained, without touching its gradients, its weights or its random streams.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.choice import EstimatorChoice
from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.meta_step.rows import MeasuringRows, tasks_in_turn
from adapt_axolotl.meta_step.schedule import LEAST_TASKS
from adapt_axolotl.meta_step.split_reader import SplitReader
from adapt_axolotl.meta_step.step import MetaStep
from adapt_axolotl.meta_step.validation import warn_of_unusable
from adapt_axolotl.metagradient.direction import Direction, direction
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import trained_parameters
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.learned import LearnedMixture


@dataclass(frozen=True)
class MetaSettings:
    """When and how meta steps run.

    Attributes:
        update_every: optimizer steps between meta steps.
        start_after: share of the budget before the first one.
        rows_per_task: rows of each task on each side.
        tasks_at_once: tasks that a meta step reads rows of, in turns; all of them if it is K.
        look_ahead: take v after a trial inner step.
        read_steps: training steps that are read along one v, by an estimator that reads them.
        estimators: in the order in which they are tried.
        seed: of the rows drawn.
        half_precision: the model computes in 16 bits (autocast), whatever its weights are.
        float16: these 16 bits are float16, so gradients need a loss scale.
        fused_loss: the training loss goes around the head.
    """

    update_every: int
    start_after: float
    rows_per_task: int
    tasks_at_once: int
    look_ahead: bool
    estimators: Sequence[Estimator]
    seed: int
    read_steps: int = 1
    half_precision: bool = False
    float16: bool = False
    fused_loss: bool = False

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step` (from 0), at this share of the budget, has a meta step."""
        return progress >= self.start_after and step % self.update_every == 0


class MetaLearner:
    """Begins meta steps: `begin` before the forward of an optimizer step gives a `MetaStep`.

    Args:
        mixture: what is learned.
        model: the trained module without its distributed wrapper.
        training: rows for estimators that use rows of their own.
        validation: rows of the objective.
        settings: when and how.
        ranks: the processes of the run.
        learning_rate: the rate in force, for the look-ahead.
        measuring: a context in which the model can be measured, by all processes in step:
            evaluation mode, nothing of it left behind.
        readable: a context in which the training backward can be read off its modules.
    """

    def __init__(
        self,
        mixture: LearnedMixture,
        model: nn.Module,
        training: MeasuringRows,
        validation: MeasuringRows,
        settings: MetaSettings,
        ranks: Ranks,
        learning_rate: Callable[[], float],
        measuring: Callable[[], contextlib.AbstractContextManager[Any]],
        readable: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self.mixture = mixture
        self._model = model
        self._training = training
        self._validation = validation
        self._settings = settings
        self._ranks = ranks
        self._learning_rate = learning_rate
        self._measuring = measuring
        self._readable = readable
        self._choice = EstimatorChoice(
            settings.estimators,
            model,
            training,
            len(mixture.tasks),
            ranks,
            seed=settings.seed,
            half_precision=settings.half_precision,
            fused_loss=settings.fused_loss,
            readable=readable,
        )

    @property
    def measures(self) -> str:
        """What is measured, for the records: the estimator in use."""
        return self.estimator.name

    @property
    def left_out(self) -> float:
        """As `EstimatorChoice.left_out`."""
        return self._choice.left_out

    @property
    def estimator(self) -> Estimator:
        """The estimator in use."""
        return self._choice.current

    def due(self, step: int, progress: float) -> bool:
        """As `MetaSettings.due`."""
        return self._settings.due(step, progress)

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(validation rows, training rows) of the meta step at `step`."""
        counted = self.mixture.losses.counted
        at_once = self._settings.tasks_at_once
        stream = RandomStream.META_VALIDATION_ROWS
        validation = self._draw(self._validation, counted, at_once, stream, step)
        if not self.estimator.own_rows and not self._settings.look_ahead:
            return validation, np.zeros(0, dtype=np.int64)
        # The turns of the two streams differ: were a task scored only along v of its own losses,
        # each would look good.
        # However few targets there are, a score is worth something beside others only.
        at_once, stream = max(at_once, LEAST_TASKS), RandomStream.META_TRAINING_ROWS
        training = self._draw(self._training, self.mixture.trained, at_once, stream, step)
        return validation, training

    def _draw(
        self,
        source: MeasuringRows,
        tasks: np.ndarray,
        at_once: int,
        stream: RandomStream,
        step: int,
    ) -> np.ndarray:
        """Rows of those of these tasks, (K,) bool, whose turn it is."""
        settings, those = self._settings, np.flatnonzero(tasks)
        turn = tasks_in_turn(
            len(those),
            at_once,
            step // settings.update_every,
            seed=settings.seed,
            stream=stream,
        )
        return source.draw(
            those[turn].tolist(),
            settings.rows_per_task,
            seed=settings.seed,
            stream=stream,
            step=step,
        )

    def tokens(self, step: int) -> int:
        """Supervised tokens that the meta step at `step` reads beside the training batch."""
        validation, training = self.rows(step)
        return self._validation.tokens(validation) + self._training.tokens(training)

    def begin(self, step: int) -> MetaStep:
        """Measure V and v at the current weights; then score the tasks, or start reading."""
        validation_rows, training_rows = self.rows(step)
        device = next(self._model.parameters()).device
        begun = MetaStep(step, self.mixture, self._choice, self._ranks, device)
        with self._measuring():
            training = self._batches(self._training, training_rows)
            v = self._observe(validation_rows, training)
            if v is None or not self._choice.settle(v):
                return begun
            if self.estimator.own_rows:
                # Without rows an estimator that reads the backward was dropped just now: rows that
                # no one has booked are not read, and the scores begin with the next meta step.
                if len(training_rows):
                    begun.scores = self.estimator.scores(
                        self._model,
                        trained_parameters(self._model),
                        training,
                        v,
                        len(self.mixture.tasks),
                        half_precision=self._choice.half_precision,
                        reduce=self._ranks.sum,
                    )
                return begun
        begun.reader = self._reader(v)
        begun.last = step + self._settings.read_steps - 1
        return begun

    def _reader(self, v: list[Tensor]) -> BackwardReader | SplitReader:
        parameters, count = trained_parameters(self._model), len(self.mixture.tasks)
        if self.estimator is SPLIT_BATCHES:
            return SplitReader(parameters, v, count, self._ranks)
        return BackwardReader(
            self._model,
            parameters,
            v,
            count,
            self._ranks,
            fused_loss=self._settings.fused_loss,
            readable=self._readable,
        )

    def _batches(self, source: MeasuringRows, rows: np.ndarray) -> list[TaskBatch]:
        return source.batches(rows, rank=self._ranks.rank, ranks=self._ranks.count)

    def _observe(self, rows: np.ndarray, training: list[TaskBatch]) -> list[Tensor] | None:
        """Tell the mixture the losses on these rows; gives v, or None if no loss is usable."""
        measured = np.zeros(len(self.mixture.tasks), dtype=bool)
        measured[self._validation.tasks(rows)] = True
        used = self.mixture.weights
        found = self._direction(rows, used, training)
        losses = found.losses.means.cpu().numpy()
        weights = self.mixture.observe(losses, measured)
        broken = measured & ~np.isfinite(losses)
        warn_of_unusable(self.mixture.tasks, losses, broken)
        # Some objectives leave out tasks: where these alone had a turn, v is 0.
        if not used[measured].any() or not weights[measured].any():
            return None
        if broken.any():
            # Rows are dropped, not multiplied by 0: the gradient of a NaN is NaN.
            rows = rows[~broken[self._validation.tasks(rows)]]
            found = self._direction(rows, weights, training)
        return found.v

    def _direction(
        self, rows: np.ndarray, weights: np.ndarray, training: list[TaskBatch]
    ) -> Direction:
        batches = self._batches(self._validation, rows)
        parameters = trained_parameters(self._model)
        inner: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self._settings.look_ahead:
            inner = look_ahead(
                self._model,
                parameters,
                training,
                torch.as_tensor(self.mixture.proportions),
                self._learning_rate(),
                float16=self._settings.float16,
                reduce=self._ranks.sum,
            )
        with inner:
            return direction(
                self._model,
                parameters,
                batches,
                torch.as_tensor(weights),
                float16=self._settings.float16,
                reduce=self._ranks.sum,
            )

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        settings = self._settings
        return {
            "adapt.learned.measure": "products",
            "adapt.learned.update_every": settings.update_every,
            "adapt.learned.start_after": settings.start_after,
            "adapt.learned.rows_per_task": settings.rows_per_task,
            "tasks at once": settings.tasks_at_once,
            "adapt.learned.look_ahead": settings.look_ahead,
            "training steps read": settings.read_steps,
            **self.mixture.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"mixture": self.mixture.state_dict(), **self._choice.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self._choice.load_state_dict(state)
