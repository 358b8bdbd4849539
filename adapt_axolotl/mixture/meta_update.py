"""What one meta step did to the mixture. K tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MetaUpdate:
    """What one meta step did. Arrays are (K,); NaN where a task was not measured.

    Attributes:
        proportions: after the update.
        logits: after the update, over the initial mixture, of mean 0.
        scores: what was measured last, with the sign of dJ/dp: negative helps.
        ages: updates since then, 0 for now.
        returns: what a share of the task is worth as a multiple of the mixture's at their initial
            shares, measured now.
        return_errors: their standard errors over the draw of rows.
        deviations: how far each task stands out in all measurements so far, in its own noise.
        over_noise: of all tasks together: 1 is noise alone (`Posterior.over_noise`).
        validation_losses: V as last measured.
        multipliers: of bounds; NaN where a task has none.
        objective: its value, over the tasks that it is over.
        entropy: of the new proportions, in nats.
    """

    proportions: np.ndarray
    logits: np.ndarray
    scores: np.ndarray
    ages: np.ndarray
    returns: np.ndarray
    return_errors: np.ndarray
    deviations: np.ndarray
    over_noise: float
    validation_losses: np.ndarray
    multipliers: np.ndarray
    objective: float
    entropy: float
