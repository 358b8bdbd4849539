"""Smooth worst cases over utilities U_k of the tasks' validation losses V_k. K tasks.

    value(U) = (1/beta) log( sum_k p_k exp(beta U_k) )              ADAPT (arXiv 2512.04555)

p is 1/K, or the tasks' weights. beta -> 0 is the mean, beta -> infinity the maximum. Its derivative
is q = softmax(beta U + log p), so with
the weights q_k dU_k/dV_k (q/V0 where U is relative, else q) one weighted backward over the
validation rows gives the gradient of the whole. They differ in U and in a cap on q:

    worst_case U = V / V0                  q at most 2 p; beta over the spread: the default (ours)
    paper      U = V                       no cap: the paper's
    raw        U = V                       q at most 2 p
    relative   U = smoothed V, over V0     q at most 2 p (ours)
    excess     U = smoothed V - reference  q at most 2 p
    mean       U = V, beta = 0             every task alike

Over the spread: beta stands for beta / sd(U), the standard deviation over tasks taken as a
constant. Where the tasks' losses have fallen to .20 and .25 of their first values, a fixed beta of
4 weighs them 1 to 1.2, and the worst case is hardly more than the mean.

Why not the paper's by default: the largest raw loss is often the one of a task that cannot be
learned. Its own score is near zero, but its softmax weight makes v point at its noise, and the
mixture follows. The cap bounds that without any reference loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.simplex import cap_weights, softmax

# Of the default, in units of the spread. At 1 the tasks that lag behind gain about twice as much,
# and those nearest to being solved pay for it (docs/learned_signal.md).
BETA = 0.5


def smooth_maximum(utilities: np.ndarray, beta: float, parts: np.ndarray) -> float:
    """(1/beta) log sum p exp(beta U); the mean where beta is 0."""
    if beta == 0:
        return float(parts @ utilities)
    top = utilities.max()
    # Not log(mean(exp)): for a small beta its digits would all be those of the 1 in exp.
    above_minus_one = parts @ np.expm1(beta * (utilities - top))
    return float(top + np.log1p(above_minus_one) / beta)


def over_the_spread(beta: float, utilities: np.ndarray, parts: np.ndarray) -> float:
    """beta / sd(U); 0 where there is no spread."""
    spread = float(np.sqrt(parts @ (utilities - parts @ utilities) ** 2))
    return beta / spread if spread > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class SmoothWorstCase(Objective):
    """A smooth worst case.

    Attributes:
        beta: sharpness; 0 is the mean.
        cap: largest q of a task in units of p; None is no cap.
        relative: U is over the first loss of each task.
        spread: beta is in units of the standard deviation of U over tasks.
        reference_losses: (K,) taken off V, or None.
    """

    beta: float
    cap: float | None = None
    relative: bool = False
    spread: bool = False
    reference_losses: np.ndarray | None = None

    def over(self, tasks: np.ndarray) -> SmoothWorstCase:
        references = self.reference_losses
        references = None if references is None else references[tasks]
        return replace(super().over(tasks), reference_losses=references)

    def utilities(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """U, (K,), from (smoothed) losses V (K,) and the first losses V0 (K,)."""
        if self.relative:
            return losses / first_losses
        if self.reference_losses is not None:
            return losses - self.reference_losses
        return losses

    def sharpness(self, utilities: np.ndarray) -> float:
        """The beta in force for U."""
        if not self.spread:
            return self.beta
        return over_the_spread(self.beta, utilities, self.parts(len(utilities)))

    def value(self, losses: np.ndarray, first_losses: np.ndarray) -> float:
        """The smooth worst case of U, without the cap."""
        utilities = self.utilities(losses, first_losses)
        return smooth_maximum(utilities, self.sharpness(utilities), self.parts(len(losses)))

    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """(K,) q_k dU_k/dV_k: below the cap the derivative of `value`, the spread taken as a
        constant."""
        utilities = self.utilities(losses, first_losses)
        parts = self.parts(len(losses))
        weights = softmax(self.sharpness(utilities) * utilities + np.log(parts))
        if self.cap is not None:
            weights = cap_weights(weights, self.cap * parts)
        return weights / first_losses if self.relative else weights

    def settings(self) -> dict[str, Any]:
        references = self.reference_losses
        return {
            "adapt.learned.beta": self.beta,
            "adapt.learned.reference_losses": None if references is None else references.tolist(),
        }
