"""What the validation losses are folded into, and so where the meta-gradient points.

All objectives are smooth worst cases over utilities U_k of the tasks' validation losses V_k:

    value(U) = (1/beta) log( (1/K) sum_k exp(beta U_k) )            ADAPT (arXiv 2512.04555)

beta -> 0 is the mean, beta -> infinity the maximum. Its derivative is q = softmax(beta U), so with
the weights q_k dU_k/dV_k (q/V0 where U is relative, else q) one weighted backward over the
validation rows gives the gradient of the whole. They differ in U and in a cap on q:

    worst_case U = V / V0                  q at most 2/K; beta over the spread: the default (ours)
    paper      U = V                       no cap: the paper's
    raw        U = V                       q at most 2/K
    relative   U = smoothed V, over V0     q at most 2/K (ours)
    excess     U = smoothed V - reference  q at most 2/K
    mean       U = V, beta = 0             every task alike

Over the spread: beta stands for beta / sd(U), the standard deviation over tasks taken as a
constant. Where the tasks' losses have fallen to .20 and .25 of their first values, a fixed beta of
4 weighs them 1 to 1.2, and the worst case is hardly more than the mean.

Why not the paper's by default: the largest raw loss is often the one of a task that cannot be
learned. Its own score is near zero, but its softmax weight makes v point at its noise, and the
mixture follows. The cap bounds that without any reference loss. K tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapt_axolotl.mixture.simplex import cap_weights, softmax


@dataclass(frozen=True)
class Objective:
    """A smooth worst case.

    Attributes:
        name: its key in a recipe.
        beta: sharpness; 0 is the mean.
        cap: largest weight of a task in units of 1/K; None is no cap.
        smoothing: share of the old value in the running average of V that U is taken from.
        relative: U is over the first loss of each task.
        over_spread: beta is in units of the standard deviation of U over tasks.
        reference_losses: (K,) taken off V, or None.
        targets: (K,) bool, the tasks that alone count, or None for all.
    """

    name: str
    beta: float
    cap: float | None = None
    smoothing: float = 0.0
    relative: bool = False
    over_spread: bool = False
    reference_losses: np.ndarray | None = None
    targets: np.ndarray | None = None

    def counts(self, tasks: np.ndarray) -> np.ndarray:
        """(K,) bool: those of these tasks, (K,) bool, that the objective is over."""
        return tasks if self.targets is None else tasks & self.targets

    def over(self, tasks: np.ndarray) -> Objective:
        """The same objective over some of the tasks, all of which count. tasks: (K,) bool."""
        references = self.reference_losses
        return replace(
            self,
            reference_losses=None if references is None else references[tasks],
            targets=None,
        )

    def utilities(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """U, (K,), from (smoothed) losses V (K,) and the first losses V0 (K,)."""
        if self.relative:
            return losses / first_losses
        if self.reference_losses is not None:
            return losses - self.reference_losses
        return losses

    def sharpness(self, utilities: np.ndarray) -> float:
        """The beta in force for U."""
        spread = float(utilities.std()) if self.over_spread else 1.0
        return self.beta / spread if spread > 0 else 0.0

    def value(self, utilities: np.ndarray) -> float:
        """The smooth worst case of U, without the cap."""
        beta = self.sharpness(utilities)
        if beta == 0:
            return float(utilities.mean())
        top = utilities.max()
        # Not log(mean(exp)): for a small beta its digits would all be those of the 1 in exp.
        above_minus_one = np.expm1(beta * (utilities - top)).mean()
        return float(top + np.log1p(above_minus_one) / beta)

    def weights(self, utilities: np.ndarray) -> np.ndarray:
        """q = softmax(beta U), no entry above the cap; (K,) on the simplex."""
        weights = softmax(self.sharpness(utilities) * utilities)
        return weights if self.cap is None else cap_weights(weights, self.cap / len(weights))

    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """(K,) weight of grad V_k in v: q_k dU_k/dV_k.

        Below the cap it is the derivative of `value` by V; a smoothed V counts as V, so that the
        smoothing does not shrink v.
        """
        weights = self.weights(self.utilities(losses, first_losses))
        return weights / first_losses if self.relative else weights


_NAMED = {
    "worst_case": Objective("worst_case", beta=1.0, cap=2.0, relative=True, over_spread=True),
    "relative": Objective("relative", beta=4.0, cap=2.0, smoothing=0.8, relative=True),
    "paper": Objective("paper", beta=4.0),
    "raw": Objective("raw", beta=4.0, cap=2.0),
    "mean": Objective("mean", beta=0.0),
    "excess": Objective("excess", beta=4.0, cap=2.0, smoothing=0.8),
}
OBJECTIVES: tuple[str, ...] = tuple(_NAMED)


def objective(
    name: str,
    *,
    beta: float | None = None,
    reference_losses: Sequence[float] | None = None,
    targets: Sequence[bool] | None = None,
) -> Objective:
    """A named objective.

    Args:
        name: one of `OBJECTIVES`.
        beta: instead of the objective's own; `mean` has none.
        reference_losses: (K,) irreducible losses, for `excess`.
        targets: (K,) which tasks alone count; None for all.

    Raises:
        ValueError: unknown name, a beta out of range, or `excess` without reference losses.
    """
    if name not in _NAMED:
        raise ValueError(f"{name!r} is no objective; choose from {', '.join(OBJECTIVES)}")
    if beta is not None and not 0 <= beta < math.inf:
        raise ValueError(
            f"beta: {beta} is no sharpness; set a number of 0 (the mean) or more, large for the "
            "maximum"
        )
    chosen = _NAMED[name]
    if beta is not None and name != "mean":
        chosen = replace(chosen, beta=beta)
    if name == "excess":
        if reference_losses is None:
            raise ValueError("objective 'excess' needs reference_losses, one for every task")
        chosen = replace(chosen, reference_losses=np.asarray(reference_losses, dtype=np.float64))
    if targets is not None:
        chosen = replace(chosen, targets=np.asarray(targets, dtype=bool))
    return chosen
