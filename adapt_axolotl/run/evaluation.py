"""One number out of the validation losses of all tasks, to choose a checkpoint by. K tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adapt_axolotl.mixture.bounds import MOST, Bounds
from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.recipe.late_keys import LOSS, OBJECTIVE, WORST_LOSS


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation says beside the losses of the single tasks.

    Attributes:
        tasks: the K names.
        weights: (K,) of the tasks in `eval_loss`, in any scale.
        objective: what a learned mixture lowers; its value tells how far it came.
        bounds: on the losses of other tasks, or None.
    """

    tasks: tuple[str, ...]
    weights: np.ndarray
    objective: Objective
    bounds: Bounds | None = None

    def metrics(
        self, measured: Mapping[str, float], first_losses: np.ndarray | None
    ) -> dict[str, float]:
        """`eval_loss`, the weighted mean over tasks; `eval_worst_loss`, the largest;
        `eval_objective`, the value of the objective at these losses, not smoothed, and of what
        exceeds a bound (V / bound - 1) as much as a multiplier may weigh it: a checkpoint that
        breaks a bound is not to look like the best. Tasks without a finite loss are left out; a
        metric is NaN where none is left.

        Args:
            measured: Trainer's metrics, with `eval_<task>_loss` of the tasks that were evaluated.
            first_losses: (K,) those before the first step; None where there are none.
        """
        losses = np.array([measured.get(f"eval_{task}_loss", np.nan) for task in self.tasks])
        first = np.full(len(losses), np.nan) if first_losses is None else first_losses
        known = np.isfinite(losses)
        mean = worst = value = float("nan")
        if known.any() and self.weights[known].sum() > 0:
            mean = float(np.average(losses[known], weights=self.weights[known]))
            worst = float(losses[known].max())
        both = self.objective.counts(known & np.isfinite(first))
        if both.any():
            value = self.objective.over(both).value(losses[both], first[both])
            if self.bounds is not None:
                value += MOST * float(np.nansum(self.bounds.over(losses).clip(min=0)))
        return {LOSS: mean, WORST_LOSS: worst, OBJECTIVE: value}
