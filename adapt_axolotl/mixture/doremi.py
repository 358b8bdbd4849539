"""DoReMi: more of the tasks in which a proxy is furthest above a reference run. K tasks.

Xie et al. (NeurIPS 2023, arXiv 2305.10429), algorithm 1, for the proxy:

    l_i  = max(L_i - reference_i, 0)                                    excess loss
    p'_i = p_i exp(step_size l_i)
    p_i <- (1 - smoothing) p'_i / sum_j p'_j + smoothing / K

The paper then trains the model itself on the average of p over the steps of the proxy: the
`average` of the proxy's run, which `mixture: replay` draws.

What differs: the paper draws all tasks alike and multiplies the proxy's loss by p; here the tasks
are drawn at p, which has the same expected gradient. It clips the excess of each token; here the
losses of the reference are those that its run recorded, one a task, so the excess of a task is
clipped, and tokens that are better than the reference make up for others. A task without rows in a
step counts with its last loss, as in `group_dro.py`. The average is weighted by the tokens of the
steps, which have about as many each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.by_losses import StepLosses, excess_over
from adapt_axolotl.mixture.nan_as_null import as_list
from adapt_axolotl.mixture.simplex import softmax

# As in the paper.
STEP_SIZE = 1.0
SMOOTHING = 1e-3


@dataclass(frozen=True, eq=False)
class DoReMi:
    """See the module docstring. Its state is log(K p).

    Attributes:
        reference: (K,) losses of the reference run, nats a supervised token.
        step_size: of log p.
        smoothing: share of the uniform mixture in every one; above 0.
    """

    reference: np.ndarray
    step_size: float = STEP_SIZE
    smoothing: float = SMOOTHING
    name = "doremi"

    def updated(self, state: np.ndarray, losses: StepLosses) -> np.ndarray:
        excess = np.maximum(excess_over(losses.latest, self.reference), 0.0)
        moved = softmax(state + self.step_size * excess)
        return np.log((1 - self.smoothing) * len(state) * moved + self.smoothing)

    def shares(self, state: np.ndarray, step: int) -> np.ndarray:
        return softmax(state)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "adapt.step_size": self.step_size,
            "adapt.smoothing": self.smoothing,
            "losses of adapt.reference": as_list(self.reference),
        }
