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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.direction import Direction, direction
from adapt_axolotl.metagradient.finite_difference import finite_difference_scores
from adapt_axolotl.metagradient.in_backward import InBackward, UnfiredHooks
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.self_check import check_estimator
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
        self._candidates = list(settings.estimators)
        self._checked = False
        self._listener: InBackward | None = None
        self._heard: list[tuple[Tensor, Tensor, Tensor]] = []
        self._unheard: str | None = None
        self._reading = False
        self._scores: TaskScores | None = None

    @property
    def estimator(self) -> str:
        """The estimator in use."""
        return self._candidates[0]

    @property
    def listening(self) -> bool:
        """Whether the training backward is being read."""
        return self._listener is not None

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
            if v is None:
                self._scores = None
                return
            if not self._checked and not self._check_estimators(v):
                self._scores = None
                return
            if self.estimator != "in_backward":
                # Without rows in_backward was dropped just now: rows that no one has booked are
                # not read, and the scores begin with the next meta step.
                self._scores = self._score(v, probe) if len(training_rows) else None
                return
        self._reading, self._heard, self._unheard = True, [], None
        self._listener = InBackward(self._model, self._parameters)
        self._listener.listen(v)

    @contextlib.contextmanager
    def training_backward(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> Iterator[None]:
        """Around the forward and backward of one training micro-batch, while `listening`.

        Args:
            labels: (B, T).
            row_of_token: (B, T), -1 beside rows.
            task_of_row: (R,).
            loss_weight: after the backward, d(what was differentiated) / d(a token's loss).
        """
        assert self._listener is not None
        self._listener.begin(row_of_token)
        yield
        try:
            if _learns_across_rows(labels, row_of_token):
                raise UnfiredHooks(
                    "packed rows whose first token is supervised: it is predicted from another row"
                )
            products = self._listener.collect(loss_weight(), len(task_of_row))
        except UnfiredHooks as error:
            self._unheard = str(error)
            self._stop_listening()
            return
        counted = row_of_token[:, 1:][labels[:, 1:] != -100]
        tokens = torch.bincount(counted, minlength=len(task_of_row))
        self._heard.append((products, tokens, task_of_row))

    def finish(self, step: int) -> MetaUpdate:
        """Move the mixture by what `begin` and the training backwards measured."""
        if self._reading:
            self._reading = False
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
        """What all processes heard; None, and no more of it, if a module of any was passed by."""
        self._stop_listening()
        heard, self._heard = self._heard, []
        if self._any_rank(self._unheard is not None):
            self._drop_estimator(self._unheard or "another process did not hear all modules")
            return None
        products, tokens, tasks = (torch.cat(parts) for parts in zip(*heard, strict=True))
        return scores_from_rows(
            products, tokens, tasks, len(self.mixture.tasks), reduce=self._ranks.sum
        )

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def _any_rank(self, here: bool) -> bool:
        """Whether it is so on any process; every process must ask."""
        flag = torch.tensor(float(here), device=self._parameters[0].device)
        return self._ranks.sum(flag).item() > 0

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
            epsilon=self._epsilon(),
            reduce=self._ranks.sum,
        )

    @property
    def _half_precision(self) -> bool:
        kept_in_half = self._parameters[0].dtype in (torch.bfloat16, torch.float16)
        return self._settings.half_precision or kept_in_half

    def _epsilon(self) -> float:
        """Relative step; 16 bits cannot resolve the smaller one."""
        return 1e-3 if self._half_precision else 1e-4

    def _check_estimators(self, v: list[Tensor]) -> bool:
        """Compare the estimator with one backward a task on two rows; drop it if it is wrong.

        Returns:
            Whether there was something to compare with.
        """
        first = self._training.draw(
            (0, 1), 1, seed=self._settings.seed, stream=TRAINING_STREAM, step=0
        )
        # The same two rows on every rank, unreduced, so that all ranks decide alike.
        batches = self._training.batches(first)
        while self.estimator != "per_task":
            check = check_estimator(
                self.estimator,
                self._model,
                self._parameters,
                batches,
                v,
                len(self.mixture.tasks),
                epsilon=self._epsilon(),
                half_precision=self._half_precision,
            )
            if self._any_rank(not check.possible):
                LOG.warning(
                    "task scores: the gradients of the rows that they are checked on are not "
                    "finite; this meta step is left out, training goes on"
                )
                return False
            if not self._any_rank(not check.passed):
                LOG.info(
                    f"task scores by {self.estimator}: agrees with one backward a task to "
                    f"{check.max_relative_error:.1e} (allowed {check.tolerance:.2g})"
                )
                break
            self._drop_estimator(check.reason or "it is wrong on another process")
        self._checked = True
        return True

    def _drop_estimator(self, reason: str) -> None:
        dropped = self._candidates.pop(0)
        self._checked = False
        LOG.warning(
            f"task scores: {dropped} does not fit this model ({reason}); using {self.estimator} "
            "from here on"
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "mixture": self.mixture.state_dict(),
            "candidates": self._candidates,
            # Another check along another v could decide otherwise: a resume would not be exact.
            "checked": self._checked,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self._candidates = list(state["candidates"])
        self._checked = state["checked"]


def _learns_across_rows(labels: Tensor, row_of_token: Tensor) -> bool:
    """Whether a supervised token, (B, T), is predicted from a token of another row."""
    before, after = row_of_token[:, :-1], row_of_token[:, 1:]
    crossing = (before != after) & (before >= 0) & (after >= 0)
    return bool((crossing & (labels[:, 1:] != -100)).any())
