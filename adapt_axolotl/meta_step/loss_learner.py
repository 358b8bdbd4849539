"""A mixture that is moved at every optimizer step by the losses of its rows.

    rows of a training step -> their losses -> by task, over all ranks -> the rule of the mixture

One learner for all rules of `mixture/by_losses.py`. It reads no tokens and makes no pass over the
model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from adapt_axolotl.meta_step.step import MeasuredStep, refuse_other_mixtures
from adapt_axolotl.meta_step.validation import usable_tasks
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.by_losses import LossMixture


class LossLearner:
    """Begins a step of the mixture with each optimizer step, as `Learner` says.

    Args:
        mixture: what moves.
        ranks: the processes of the run.
        device: of the model.

    Attributes:
        losses: (K,) of the last step, mean per supervised token; NaN for tasks without rows in it,
            or whose loss was not finite.
    """

    measures = None
    left_out = None

    def __init__(self, mixture: LossMixture, ranks: Ranks, device: torch.device) -> None:
        self.mixture = mixture
        self.losses = np.full(len(mixture.tasks), np.nan)
        self._tokens = np.zeros(len(mixture.tasks))  # that the losses are over
        self._ranks = ranks
        self._device = device
        # This rank's rows of a step: token losses, supervised tokens.
        self._sums = np.zeros((2, len(mixture.tasks)))
        self._warned = np.zeros(len(mixture.tasks), dtype=bool)

    def due(self, step: int, progress: float) -> bool:
        """At each optimizer step."""
        return True

    def tokens(self, step: int) -> int:
        """None beside the training batch."""
        return 0

    def take_rows(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Losses of rows of a training micro-batch of this rank, (R,) each: the task, the sum of
        token losses, how many tokens these are."""
        np.add.at(self._sums[0], tasks, sums)
        np.add.at(self._sums[1], tasks, tokens)

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        """After an optimizer step: its losses, over all ranks. For the arguments see
        `CurveLearner.end_step`; losses of rows count here however often they were trained on."""
        sums, self._sums = self._sums, np.zeros_like(self._sums)
        summed = self._ranks.sum(torch.as_tensor(sums, device=self._device)).cpu().numpy()
        usable = usable_tasks(self.mixture.tasks, summed, self._warned, "rows")
        usable &= summed[1] > 0
        self.losses = np.where(usable, summed[0] / np.where(usable, summed[1], 1.0), np.nan)
        self._tokens = summed[1]

    def begin(self, step: int) -> MeasuredStep:
        """Nothing is measured before the forward; the mixture moves when the step has ended."""

        def learn() -> None:
            self.mixture.update(self.losses, self._tokens)
            refuse_other_mixtures(self.mixture.proportions, step, self._ranks, self._device)

        return MeasuredStep(learn)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on with the same mixture."""
        return self.mixture.fingerprint()

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; a few numbers a task."""
        return {"mixture": self.mixture.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
