"""The mean of the worst share of the tasks: the conditional value at risk. K tasks, U = V / V0.

    value(U) = min_c  c + sum_k p_k max(0, U_k - c) / level

(Rockafellar and Uryasev, 2000, eq. 4, with the tasks' weights as probabilities p: 1/K without any.)
That is the mean of the level K largest U; where level K is no whole number, the last of them counts
by its part. Level 1 is the mean of all tasks; 1/K or less is the maximum. Its derivative is q_k /
V0_k with q_k = p_k / level for the worst tasks and 0 for the others; tasks that are equal at the
border share what is left for them, which is one of the subgradients there.

U is over the first losses, as in our default and for the same reason: the worst share by raw losses
is that of the tasks that cannot be learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives.objective import Objective

LEVEL = 0.25


@dataclass(frozen=True, kw_only=True)
class Cvar(Objective):
    """The mean of the worst tasks.

    Attributes:
        level: share of the tasks that count, above 0, 1 at most.
    """

    level: float = LEVEL

    def value(self, losses: np.ndarray, first_losses: np.ndarray) -> float:
        utilities = losses / first_losses
        return float(self._weights(utilities) @ utilities)

    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        return self._weights(losses / first_losses) / first_losses

    def _weights(self, utilities: np.ndarray) -> np.ndarray:
        """q, (K,) on the simplex."""
        parts = self.parts(len(utilities))
        weights, left = np.zeros(len(utilities)), 1.0
        for utility in np.unique(utilities)[::-1]:
            alike = utilities == utility
            part = min(left, float(parts[alike].sum()) / self.level)
            weights[alike] = part * parts[alike] / parts[alike].sum()
            left -= part
            if left <= 0:
                break
        return weights

    def settings(self) -> dict[str, Any]:
        return {"adapt.learned.level": self.level}
