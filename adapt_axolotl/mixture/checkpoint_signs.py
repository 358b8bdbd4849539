"""Whether the effects of tasks on a target differ in the same way from checkpoint to checkpoint. K
tasks, M checkpoints.

With e_mk the fall of the target's loss by a step on task k (`effects.py`), and q_k the tasks'
shares of the tokens,

    d_mk = e_mk - sum_j q_j e_mj            less the average, which no mixture changes
    c_mk = d_mk / (rms over k of d_mk)      so that no checkpoint speaks for all
    c_k  = mean over m of c_mk,   Q = sum_k c_k^2

The draw of rows does not tell how far c_k is chance: from one checkpoint to the next the effects of
whole kinds of tasks swing together, by far more than other rows would change them. So all tasks of
a checkpoint are taken together. Were an effect as likely as its contrary, the c_mk of a checkpoint
could as well have the other sign, and Q is compared with what it is under such signs (a
randomisation test: Fisher, 1935), all of them or `DRAWN` at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

# With fewer nothing could be told at 5 %: of 2^(M - 1) signs, 1 is that found.
LEAST_CHECKPOINTS = 6
# Signs that are drawn, where there are more.
DRAWN = 4096


@dataclass(frozen=True)
class AcrossCheckpoints:
    """Attributes:
    mean: (K,) c.
    by_signs: Q under each of the signs, those found among them.
    """

    mean: np.ndarray
    by_signs: np.ndarray

    @property
    def found(self) -> float:
        """Q."""
        return float((self.mean**2).sum())

    @property
    def chance(self) -> float:
        """The share of the signs that give so large a Q or a larger one."""
        # Rounding must not make one of the signs, that found, a smaller one.
        return float((self.by_signs >= self.found * (1 - 1e-9)).mean())


def across_checkpoints(effects: np.ndarray, shares: np.ndarray) -> AcrossCheckpoints | None:
    """None where fewer than `LEAST_CHECKPOINTS` tell tasks apart at all.

    Args:
        effects: (M, K) e.
        shares: (K,) q, that add up to 1.
    """
    above = effects - (effects @ shares)[:, None]
    size = np.sqrt((above**2).mean(axis=1, keepdims=True))
    told = size[:, 0] > 0
    if told.sum() < LEAST_CHECKPOINTS:
        return None
    above = above[told] / size[told]
    by_signs = (((_signs(len(above)) @ above) / len(above)) ** 2).sum(axis=1)
    return AcrossCheckpoints(above.mean(axis=0), by_signs)


def _signs(count: int) -> np.ndarray:
    """(S, M) of 1 and -1, the first column 1: those of all turned around say the same."""
    if 2 ** (count - 1) <= DRAWN:
        others = np.array(list(product((1.0, -1.0), repeat=count - 1)))
    else:
        others = np.random.default_rng(0).choice((1.0, -1.0), size=(DRAWN, count - 1))
        others[0] = 1.0  # those found
    return np.hstack([np.ones((len(others), 1)), others])
