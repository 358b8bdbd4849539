"""One meta step: measure validation losses, their gradient, every task's score; move the mixture.

    validation rows -> losses V and v = sum_k w_k grad V_k -> scores <v, grad L_k>
    -> logits -> proportions

One pass over the validation rows gives both V and v, so the weights w are by the losses of the meta
steps before: they are smoothed, and a meta step older hardly differs, for a forward less.

The steps of the method are in `mixture/` and `metagradient/`; this module runs them in order on the
model that is being trained, without touching its gradients, its weights or its random streams.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapt_axolotl.backward_reader import BackwardReader
from adapt_axolotl.estimator_choice import EstimatorChoice
from adapt_axolotl.metagradient.direction import Direction, direction
from adapt_axolotl.metagradient.finite_difference import finite_difference_scores
from adapt_axolotl.metagradient.in_backward import UnfiredHooks
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.scores import TaskScores
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.learned import LearnedMixture, MetaUpdate
from adapt_axolotl.probe import TRAINING_STREAM, VALIDATION_STREAM, ProbeRows, tasks_in_turn
from adapt_axolotl.ranks import Ranks
from adapt_axolotl.validation import measuring

LOG = logging.getLogger("axolotl.adapt.meta_step")


@dataclass(frozen=True)
class MetaSettings:
    """When and how the meta step runs.

    Attributes:
        update_every: optimizer steps between meta steps.
        start_after: share of the budget before the first one.
        rows_per_task: rows of each task on each side.
        tasks_at_once: tasks that a meta step reads rows of, in turns; all of them if it is K.
        look_ahead: take v after a trial inner step.
        estimators: names in the order in which they are tried.
        seed: of the rows drawn.
        half_precision: the model computes in 16 bits (autocast), whatever its weights are.
    """

    update_every: int
    start_after: float
    rows_per_task: int
    tasks_at_once: int
    look_ahead: bool
    estimators: Sequence[str]
    seed: int
    half_precision: bool = False

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step` (from 0), at this share of the budget, has a meta step."""
        return progress >= self.start_after and step % self.update_every == 0


class MetaStep:
    """Runs meta steps beside a training loop: `begin` before the forward of an optimizer step,
    `training_backward` around each of its micro-batches, `finish` after its last backward.

    Args:
        mixture: what is learned.
        model: the trained module without its distributed wrapper.
        training: rows for estimators that use rows of their own.
        validation: rows of the objective.
        settings: when and how.
        ranks: the processes of the run.
        learning_rate: the rate in force, for the look-ahead.
        whole: a context in which every process holds the whole parameters, where they are sharded.
    """

    def __init__(
        self,
        mixture: LearnedMixture,
        model: nn.Module,
        training: ProbeRows,
        validation: ProbeRows,
        settings: MetaSettings,
        ranks: Ranks,
        learning_rate: Callable[[], float],
        whole: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self.mixture = mixture
        self._model = model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._training = training
        self._validation = validation
        self._settings = settings
        self._ranks = ranks
        self._learning_rate = learning_rate
        self._whole = whole
        count = len(mixture.tasks)
        self._choice = EstimatorChoice(
            settings.estimators,
            model,
            self._parameters,
            training,
            count,
            ranks,
            seed=settings.seed,
            half_precision=settings.half_precision,
        )
        self._reader = BackwardReader(model, self._parameters, count, ranks)
        self._scores: TaskScores | None = None

    @property
    def estimator(self) -> str:
        """The estimator in use."""
        return self._choice.name

    @property
    def listening(self) -> bool:
        """Whether the training backward is being read."""
        return self._reader.listening

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step` (from 0), at this share of the budget, has a meta step."""
        return self._settings.due(step, progress)

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(validation rows, training rows) of the meta step at `step`."""
        validation = self._draw(self._validation, VALIDATION_STREAM, step)
        if self.estimator == "in_backward" and not self._settings.look_ahead:
            return validation, np.zeros(0, dtype=np.int64)
        # The turns of the two streams differ: were a task scored only along v of its own losses,
        # each would look good.
        return validation, self._draw(self._training, TRAINING_STREAM, step)

    def _draw(self, source: ProbeRows, stream: int, step: int) -> np.ndarray:
        settings = self._settings
        tasks = tasks_in_turn(
            len(self.mixture.tasks),
            settings.tasks_at_once,
            step // settings.update_every,
            seed=settings.seed,
            stream=stream,
        )
        return source.draw(
            tasks.tolist(), settings.rows_per_task, seed=settings.seed, stream=stream, step=step
        )

    def tokens(self, step: int) -> int:
        """Supervised tokens that the meta step at `step` reads beside the training batch."""
        validation, training = self.rows(step)
        return self._validation.tokens(validation) + self._training.tokens(training)

    def begin(self, step: int) -> None:
        """Measure V and v at the current weights; then score the tasks, or start listening."""
        validation_rows, training_rows = self.rows(step)
        with self._whole(), measuring(self._model):
            probe = self._batches(self._training, training_rows)
            v = self._observe(validation_rows, probe)
            if v is None or not self._choice.settle(v):
                self._scores = None
                return
            if self.estimator != "in_backward":
                # Without rows in_backward was dropped just now: rows that no one has booked are
                # not read, and the scores begin with the next meta step.
                self._scores = self._score(v, probe) if len(training_rows) else None
                return
        self._reader.begin(v)

    def training_backward(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> contextlib.AbstractContextManager[None]:
        """As `BackwardReader.micro_batch`."""
        return self._reader.micro_batch(labels, row_of_token, task_of_row, loss_weight)

    def finish(self, step: int) -> MetaUpdate:
        """Move the mixture by what `begin` and the training backwards measured."""
        if self._reader.begun:
            self._scores = self._scores_read()
        if self._scores is None:
            nothing = np.full(len(self.mixture.tasks), np.nan)
            return self.mixture.update(nothing, nothing, step=step)
        scores, self._scores = self._scores, None
        update = self.mixture.update(
            scores.inner_products.cpu().numpy(), scores.standard_errors.cpu().numpy(), step=step
        )
        # Each process draws for itself: a bit of difference, and rows would be lost or doubled.
        proportions = torch.as_tensor(update.proportions).to(self._parameters[0].device)
        assert self._ranks.agree(proportions), f"processes hold different mixtures at step {step}"
        return update

    def _scores_read(self) -> TaskScores | None:
        """Off the backwards of this step; None, and no more of it, if a module was passed by."""
        try:
            return self._reader.scores()
        except UnfiredHooks as error:
            self._choice.drop(str(error))
            return None

    def _batches(self, source: ProbeRows, rows: np.ndarray) -> list[TaskBatch]:
        return source.batches(rows, rank=self._ranks.rank, ranks=self._ranks.count)

    def _observe(self, rows: np.ndarray, probe: list[TaskBatch]) -> list[Tensor] | None:
        """Tell the mixture the losses on these rows; gives v, or None if no loss is usable."""
        measured = np.zeros(len(self.mixture.tasks), dtype=bool)
        measured[self._validation.tasks(rows)] = True
        found = self._direction(rows, self.mixture.weights, probe)
        losses = found.losses.means.cpu().numpy()
        weights = self.mixture.observe(losses, measured)
        broken = measured & ~np.isfinite(losses)
        for task in np.flatnonzero(broken):
            LOG.warning(
                f"task {self.mixture.tasks[task]!r}: its validation loss is {losses[task]}; it is "
                "left out of this meta step, training goes on"
            )
        if not (weights[measured] != 0).any():
            return None
        if broken.any():
            # Rows are dropped, not multiplied by 0: the gradient of a NaN is NaN.
            rows = rows[~broken[self._validation.tasks(rows)]]
            found = self._direction(rows, weights, probe)
        return found.v

    def _direction(
        self, rows: np.ndarray, weights: np.ndarray, probe: list[TaskBatch]
    ) -> Direction:
        batches = self._batches(self._validation, rows)
        inner: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self._settings.look_ahead:
            inner = look_ahead(
                self._model,
                self._parameters,
                probe,
                torch.as_tensor(self.mixture.proportions),
                self._learning_rate(),
                reduce=self._ranks.sum,
            )
        with inner:
            return direction(
                self._model,
                self._parameters,
                batches,
                torch.as_tensor(weights),
                reduce=self._ranks.sum,
            )

    def _score(self, v: list[Tensor], probe: list[TaskBatch]) -> TaskScores:
        count = len(self.mixture.tasks)
        if self.estimator == "per_task":
            return per_task_scores(
                self._model, self._parameters, probe, v, count, reduce=self._ranks.sum
            )
        return finite_difference_scores(
            self._model,
            self._parameters,
            probe,
            v,
            count,
            epsilon=self._choice.epsilon,
            reduce=self._ranks.sum,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"mixture": self.mixture.state_dict(), **self._choice.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self._choice.load_state_dict(state)
