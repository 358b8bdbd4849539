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

The paper draws each of the G micro-batches of a step from one task, and L_i is the sum of the mean
losses of those of task i: in the mean G p_i times its loss, which 1 / p_i makes the same for all
shares. Here a micro-batch has rows of many tasks, and L_i is what that sum is for as many tokens:
G times the sum of the token losses of task i over the supervised tokens of the step.
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
        micro_batches: G, of all processes together.
        decay: share of the old reward in the new one.
    """

    micro_batches: int
    decay: float = REWARD_DECAY
    name = "odm"

    def updated(self, state: np.ndarray, losses: StepLosses) -> np.ndarray:
        means = np.where(losses.measured, losses.latest, 0.0)
        summed = self.micro_batches * losses.tokens * means
        rewards = self.decay * state + (1 - self.decay) * summed / losses.drawn
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
