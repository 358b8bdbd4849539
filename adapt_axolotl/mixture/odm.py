"""Online data mixing: a bandit that draws more of the tasks with high training losses. K tasks.

ODM (Albalak, Pan, Raffel and Wang, 2023, arXiv 2312.02406), algorithm 1, after EXP3 (Auer et al.,
2002):

    e_t   = min(1 / K, sqrt(ln K / (K t)))                              exploration
    R_i  <- decay R_i + (1 - decay) L_i / p_t,i                         if i was drawn in step t
    p_i   = (1 - K e_t) exp(e_{t-1} R_i) / sum_j exp(e_{t-1} R_j) + e_t,     e_0 = 1 / K

with L_i the loss of task i in the step and p_t the mixture that it was drawn from. For the first
K ln K steps e_t is 1 / K and the mixture uniform; late in a run e_t R_i is small and it comes back
there.

The moving average keeps R_i below the largest loss over the least share, and the exponentials are
taken over the largest of them, so nothing overflows.

What differs: the paper draws each micro-batch from one task and adds up its losses of a step; here
a step has rows of many tasks and L_i is the mean over its supervised tokens of task i, so that it
does not depend on the size of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.by_losses import StepLosses
from adapt_axolotl.mixture.simplex import softmax

# Of the moving average of the rewards.
REWARD_DECAY = 0.9


@dataclass(frozen=True)
class Odm:
    """See the module docstring. Its state is R.

    Attributes:
        decay: share of the old reward in the new one.
    """

    decay: float = REWARD_DECAY
    name = "odm"

    def updated(self, state: np.ndarray, losses: StepLosses) -> np.ndarray:
        latest = np.where(losses.measured, losses.latest, 0.0)
        rewards = self.decay * state + (1 - self.decay) * latest / losses.drawn
        return np.where(losses.measured, rewards, state)

    def shares(self, state: np.ndarray, step: int) -> np.ndarray:
        # These proportions are for step t = step + 1.
        count = len(state)
        now, before = exploration(count, step + 1), exploration(count, step)
        return (1 - count * now) * softmax(before * state) + now

    def fingerprint(self) -> dict[str, Any]:
        return {"adapt.reward_decay": self.decay}


def exploration(count: int, step: int) -> float:
    """e_t of K = count tasks at t = step."""
    if step == 0:
        return 1 / count
    return min(1 / count, math.sqrt(math.log(count) / (count * step)))
