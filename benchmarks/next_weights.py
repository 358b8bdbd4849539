"""Weights of the tasks in a next run, from what a step on each did to a target at the checkpoints
of a run that has ended. K tasks, M checkpoints.

Effects of one checkpoint are compared with each other: with e_mk the fall of the target's loss by a
step on task k there (`effects.py`), and q_k the tasks' shares of the tokens,

    d_mk = e_mk - sum_j q_j e_mj            less the average, which no weight changes
    c_mk = d_mk / (rms over k of d_mk)      so that no checkpoint speaks for all
    c_k  = mean over m of c_mk

How far c_k is chance is told by how checkpoints differ, not by how rows do: from one checkpoint
to the next the effects of whole kinds of tasks swing together, by far more than other rows would
change them. So all tasks of a checkpoint are taken together. Were an effect as likely as its
contrary, the c_mk of a checkpoint could as well have the other sign (a randomisation test: Fisher,
1935). Q = sum_k c_k^2 is compared with what it is under such signs (all of them, or `DRAWN` at
random):

    kept = max(0, 1 - (value that 95 in 100 of these stay below) / Q)

as James and Stein (1961) shrink means, with noise at its 95th percentile in the place of its mean
(ours), so that where all tasks are alike nothing moves in 95 of 100 runs. With tau = sqrt(kept)
rms(c) for the spread of the tasks' true effects, the mixture that maximises

    sum_k p_k kept c_k - lambda KL(p || q),    lambda = tau / log(FACTOR)

has p_k in proportion to q_k w_k,

    w_k = exp(kept c_k / lambda) = FACTOR^(sqrt(kept) c_k / rms(c)),

here between 1 / `MOST` and `MOST`: a task whose effect is one deviation above the others' mean gets
`FACTOR` times its share, beside others, if all of it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

# Of a task one deviation above the mean.
FACTOR = 4.0
# No weight is further from 1.
MOST = 4.0
CONFIDENCE = 0.95
# With fewer no effect could stand out at this confidence: of 2^(M - 1) signs, 1 is that found.
LEAST_CHECKPOINTS = 6
# Signs that are drawn, where there are more.
DRAWN = 4096


@dataclass(frozen=True)
class NextWeights:
    """Attributes:
    weights: (K,) w, all 1 where nothing stands out.
    kept: between 0 and 1.
    chance: share of the signs that give so large a Q or a larger one.
    """

    weights: np.ndarray
    kept: float
    chance: float


def next_weights(effects: np.ndarray, shares: np.ndarray) -> NextWeights:
    """See the module docstring.

    Args:
        effects: (M, K) e, of `LEAST_CHECKPOINTS` or more.
        shares: (K,) q, that add up to 1.
    """
    assert len(effects) >= LEAST_CHECKPOINTS, "too few checkpoints"
    above = effects - (effects @ shares)[:, None]
    size = np.sqrt((above**2).mean(axis=1, keepdims=True))
    above = above[size[:, 0] > 0] / size[size[:, 0] > 0]
    if len(above) < LEAST_CHECKPOINTS:
        return NextWeights(np.ones(effects.shape[1]), 0.0, 1.0)
    mean = above.mean(axis=0)
    found = float((mean**2).sum())
    by_chance = (((_signs(len(above)) @ above) / len(above)) ** 2).sum(axis=1)
    limit = float(np.quantile(by_chance, CONFIDENCE))
    kept = max(0.0, 1 - limit / found) if found > 0 else 0.0
    exponents = np.sqrt(kept) * mean / np.sqrt((mean**2).mean()) if kept else np.zeros(len(mean))
    # Rounding must not make one of the signs, that found, a smaller one.
    chance = float((by_chance >= found * (1 - 1e-9)).mean())
    return NextWeights(np.clip(FACTOR**exponents, 1 / MOST, MOST), kept, chance)


def _signs(count: int) -> np.ndarray:
    """(S, M) of 1 and -1, the first column 1: those of all turned around say the same."""
    if 2 ** (count - 1) <= DRAWN:
        others = np.array(list(product((1.0, -1.0), repeat=count - 1)))
    else:
        others = np.random.default_rng(0).choice((1.0, -1.0), size=(DRAWN, count - 1))
        others[0] = 1.0  # those found
    return np.hstack([np.ones((len(others), 1)), others])
