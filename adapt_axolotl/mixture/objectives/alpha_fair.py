"""Alpha-fairness: tasks count by a power of their loss. K tasks, U = V / V0.

    value(U) = ( sum_k p_k U_k^(1 + alpha) )^(1 / (1 + alpha))

p is 1/K, or the tasks' weights. It is least where sum_k p_k U_k^(1 + alpha) / (1 + alpha) is,
which is q-fair learning (Li et al., 2020, arXiv 1905.10497, eq. 2, with q = alpha), the form for
losses of the alpha-fairness of Mo and Walrand (2000); the root, which changes no minimum, keeps the
unit of U. alpha = 0 is the mean, a large alpha the maximum. Its derivative is

    p_k (U_k / value)^alpha / V0_k

so a task that is left at twice the loss counts 2^alpha times as much, whatever the others do: it
goes by ratios, where the smooth worst case goes by differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives.objective import Objective

ALPHA = 1.0


@dataclass(frozen=True, kw_only=True)
class AlphaFair(Objective):
    """A power mean.

    Attributes:
        alpha: 0 is the mean.
    """

    alpha: float = ALPHA

    def value(self, losses: np.ndarray, first_losses: np.ndarray) -> float:
        utilities = losses / first_losses
        top = utilities.max()
        if not top > 0:
            return 0.0
        # Over the largest: a high power of it would overflow.
        powers = (utilities / top) ** (1 + self.alpha)
        return float(top * (self.parts(len(losses)) @ powers) ** (1 / (1 + self.alpha)))

    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        value = self.value(losses, first_losses)
        ratios = losses / first_losses / value if value > 0 else np.ones(len(losses))
        return self.parts(len(losses)) * ratios**self.alpha / first_losses

    def settings(self) -> dict[str, Any]:
        return {"adapt.learned.alpha": self.alpha}
