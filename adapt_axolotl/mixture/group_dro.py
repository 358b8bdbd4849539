"""Group DRO: exponentiated gradient on the losses of the tasks, ascent towards the worst of them.
K tasks.

Sagawa, Koh, Hashimoto and Liang (ICLR 2020, arXiv 1911.08731), algorithm 1:

    q_i <- q_i exp(step_size L_i) / sum_j q_j exp(step_size L_j)

with L_i the loss of task i in the step. Given a reference run, L_i is the loss in excess of that
run's (Oren, Sagawa, Hashimoto and Liang, 2019, arXiv 1909.02060, the baselined loss), below 0 where
the task is better off. q is kept as its logarithm.

What differs: the paper draws all groups alike and multiplies the loss by q; here the tasks are
drawn at q, which has the same expected gradient. So a task of small share has rows in few steps,
and where it has none it counts with its last loss, before the first one with the mean of the
others: were its q to stay, that of the others would
rise for no reason but that they were drawn. Nothing pulls q back, so over a long run all of it goes
to the task with the largest loss, which may be one that nobody can learn; a reference run is the
remedy, and DoReMi (`doremi.py`) keeps a part of the uniform mixture besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.by_losses import LEAST_LOG, StepLosses, excess_over
from adapt_axolotl.mixture.nan_as_null import as_list
from adapt_axolotl.mixture.simplex import softmax

# As in the paper's experiments.
STEP_SIZE = 0.01


@dataclass(frozen=True, eq=False)
class GroupDro:
    """See the module docstring. Its state is log q, of largest value 0.

    Attributes:
        reference: (K,) losses of the reference run, nats a supervised token; None for none.
        step_size: of log q.
    """

    reference: np.ndarray | None = None
    step_size: float = STEP_SIZE
    name = "group_dro"

    def updated(self, state: np.ndarray, losses: StepLosses) -> np.ndarray:
        new = state + self.step_size * excess_over(losses.latest, self.reference)
        floored: np.ndarray = np.maximum(new - new.max(), LEAST_LOG)
        return floored

    def shares(self, state: np.ndarray, step: int) -> np.ndarray:
        return softmax(state)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "adapt.step_size": self.step_size,
            "losses of adapt.reference": None
            if self.reference is None
            else as_list(self.reference),
        }
