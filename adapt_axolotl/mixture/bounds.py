"""Losses that are to end below a bound while the objective over other tasks is lowered. K tasks.

    minimise f(V)  such that  g_k = V_k / b_k - 1 <= 0  for each bounded task k
    L(V, mu) = f(V) + sum_k mu_k g_k
    mu_k <- min(MOST, max(0, mu_k + RATE g_k))             at each meta step

Dual ascent (Arrow, Hurwicz and Uzawa, 1958): the multiplier of a task rises while its loss is above
the bound and falls while it is below. The weight of grad V_k is dL/dV_k, so mu_k / b_k beside that
of the objective.

Where it is known how the losses fall, g_k is of the loss that task k would end with at its present
share (ours):

    V_k - f_k log(1 + p_k N / n_k)       n_k tokens of it trained on, N left for all tasks

A loss that falls through the whole run is above its bound until late, and a multiplier that rose
all that time would stay large long after there was a need. MOST (ours) keeps a bound that cannot be
kept from taking everything. How near to its bound a task ends on curves of this form is tested in
`tests/adapt_axolotl/mixture/test_bounds.py`.

A bounded task keeps its initial share until its loss is known a first time (ours): with a
multiplier of 0 it would lose share to the others all that while, unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RATE = 3.0
MOST = 2.0


class Bounds:
    """Bounds and their multipliers.

    Args:
        bounds: (K,) b, nats a supervised token; NaN for tasks without one.

    Attributes:
        multipliers: (K,) mu; NaN for tasks without a bound, and before their loss is known.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = np.asarray(bounds, dtype=np.float64)
        self.multipliers = np.full(len(self.bounds), np.nan)

    @property
    def weights(self) -> np.ndarray:
        """(K,) mu_k / b_k, 0 for tasks without a bound."""
        return np.nan_to_num(self.multipliers / self.bounds)

    @property
    def unknown(self) -> np.ndarray:
        """(K,) bool: bounded tasks that no loss has been told of since the first ones."""
        unknown: np.ndarray = np.isfinite(self.bounds) & np.isnan(self.multipliers)
        return unknown

    def over(self, losses: np.ndarray) -> np.ndarray:
        """(K,) g at these losses, (K,); NaN where there is no bound or no loss."""
        return losses / self.bounds - 1

    def ascend(self, losses: np.ndarray, measured: np.ndarray) -> None:
        """A step of the multipliers. losses: (K,); measured: (K,) bool, those to go by."""
        new = np.clip(np.nan_to_num(self.multipliers) + RATE * self.over(losses), 0.0, MOST)
        self.multipliers = np.where(measured & np.isfinite(new), new, self.multipliers)


def at_the_end(
    levels: np.ndarray, falls: np.ndarray, trained: np.ndarray, shares: np.ndarray, left: float
) -> np.ndarray:
    """(K,) the losses that a run would end with.

    Args:
        levels: (K,) V now.
        falls: (K,) f, nats for each e-fold of a task's own tokens.
        trained: (K,) n, tokens of each task trained on so far.
        shares: (K,) p, of the tokens to come.
        left: N, tokens to come.
    """
    return levels - falls * np.log1p(shares * left / np.maximum(trained, 1.0))
