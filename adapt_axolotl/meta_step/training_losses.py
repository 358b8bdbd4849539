"""Meta steps that cost next to nothing: losses of rows as training sees them for the first time.

    rows of a training step -> their losses, of new ones only -> learning curves -> mixture

The forward that trains on a row gives its loss. So a meta step reads no tokens, makes no pass over
the model and stores seven numbers a task for each interval of the run
(`mixture/learning_curves.py`). A row that was trained on before is not counted, because the model
may remember it. Of a task that has no new rows left, a few validation rows are measured at each
meta step instead (`held_out.py`); until there are enough of these measurements for a line of their
own, its last new rows count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adapt_axolotl.meta_step.held_out import HeldOut
from adapt_axolotl.meta_step.step import MeasuredStep, on_all_ranks
from adapt_axolotl.meta_step.validation import usable_tasks
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.bounds import at_the_end
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.learning_curves import MOMENTS, LearningCurves, latest, row_moments
from adapt_axolotl.mixture.meta_update import MetaUpdate

NAME = "training_losses"


@dataclass(frozen=True)
class CurveSettings:
    """When losses are kept.

    Attributes:
        start_after: share of the budget before it: the first steps say little of the later ones.
    """

    start_after: float


class CurveLearner:
    """Begins meta steps, as `Learner` says.

    Args:
        mixture: what is learned.
        settings: from when on.
        ranks: the processes of the run.
        device: of the model.
        held_out: measures tasks that have no new rows left; None where nothing can.
    """

    measures = NAME
    left_out = None

    def __init__(
        self,
        mixture: LearnedMixture,
        settings: CurveSettings,
        ranks: Ranks,
        device: torch.device,
        held_out: HeldOut | None = None,
    ) -> None:
        self.mixture = mixture
        self._held_out = held_out
        self._settings = settings
        self._ranks = ranks
        self._device = device
        self._curves = LearningCurves(len(mixture.tasks))
        self._held_out_curves = LearningCurves(len(mixture.tasks))
        self._step = np.zeros((len(MOMENTS), len(mixture.tasks)))  # this rank's rows of a step
        self._trained = np.zeros(len(mixture.tasks))
        self._progress = 0.0
        self._seen = np.zeros(len(mixture.tasks), dtype=bool)  # new rows since the last meta step
        self._old = np.zeros(len(mixture.tasks), dtype=bool)  # no new rows any more
        self._warned = np.zeros(len(mixture.tasks), dtype=bool)

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step` begins an interval, there is something to learn from, and
        it makes a line or will."""
        if not self._curves.ends(float(self._trained.sum())):
            return False
        if self.tokens(step):
            return True
        return bool(self._seen.any()) and self._curves.fit() is not None

    def tokens(self, step: int) -> int:
        """Of the validation rows that are measured; 0 while all tasks have new rows."""
        if self._held_out is None or not self._old.any():
            return 0
        return self._held_out.tokens(self._old, self._trained)

    def take_rows(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Losses of rows of a training micro-batch of this rank, (R,) each, as `row_moments`."""
        self._step += row_moments(tasks, sums, tokens, len(self.mixture.tasks))

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        """After an optimizer step.

        Args:
            trained: (K,) supervised tokens of each task trained on so far, with it.
            progress: share of the budget spent so far, with it.
            new: (K,) bool, tasks of which no row was trained on before it.
        """
        moments, self._step = self._step, np.zeros_like(self._step)
        before, self._trained = self._trained, trained.astype(float)
        self._progress = progress
        if progress < self._settings.start_after:
            return
        summed = self._ranks.sum(torch.as_tensor(moments, device=self._device)).cpu().numpy()
        usable = usable_tasks(self.mixture.tasks, summed, self._warned, "rows")
        kept = np.where(usable & new, summed, 0.0)
        self._seen |= kept[0] > 0
        self._old = ~new
        self._curves.add(before, kept)

    def begin(self, step: int) -> MeasuredStep:
        """Take the falls of the losses so far."""
        trained = self._trained
        renewed, self._seen = self._seen, np.zeros_like(self._seen)
        if self._held_out is not None and self.tokens(step):
            moments = self._held_out.moments(self._old, trained)
            self._held_out_curves.add(trained, moments)
            renewed = renewed | (moments[0] > 0)
        fit = latest(self._curves.fit(), self._held_out_curves.fit(), self._old)
        left = trained.sum() * (1 / self._progress - 1)
        end = at_the_end(fit.levels, fit.falls, trained, self.mixture.token_shares, left)
        self.mixture.observe(fit.levels, np.isfinite(fit.levels), end)

        def learn() -> MetaUpdate:
            update = self.mixture.update_by_falls(
                fit.falls, fit.errors, step=step, freedom=fit.freedom, seen=renewed
            )
            return on_all_ranks(update, step, self._ranks, self._device)

        return MeasuredStep(learn)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        return {
            "adapt.learned.measure": NAME,
            "adapt.learned.start_after": self._settings.start_after,
            **self.mixture.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "mixture": self.mixture.state_dict(),
            "curves": self._curves.state_dict(),
            "held_out_curves": self._held_out_curves.state_dict(),
            "held_out": None if self._held_out is None else self._held_out.state_dict(),
            "trained": self._trained.tolist(),
            "progress": self._progress,
            "seen": self._seen.tolist(),
            "old": self._old.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self._curves.load_state_dict(state["curves"])
        self._held_out_curves.load_state_dict(state["held_out_curves"])
        if self._held_out is not None:
            self._held_out.load_state_dict(state["held_out"])
        self._trained = np.array(state["trained"])
        self._progress = state["progress"]
        self._seen = np.array(state["seen"])
        self._old = np.array(state["old"])
