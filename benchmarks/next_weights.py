"""Weights of the tasks in a next run, from what a step on each did to a target at the checkpoints
of a run that has ended. K tasks, M checkpoints.

What is the same from checkpoint to checkpoint is c_k, its size Q, and what chance makes of Q is
told by signs of whole checkpoints (`adapt_axolotl/mixture/checkpoint_signs.py`):

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

import numpy as np

from adapt_axolotl.mixture.checkpoint_signs import across_checkpoints

# Of a task one deviation above the mean.
FACTOR = 4.0
# No weight is further from 1.
MOST = 4.0
CONFIDENCE = 0.95


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
        effects: (M, K) the fall of the loss by a step on each task.
        shares: (K,) q, that add up to 1.
    """
    told = across_checkpoints(effects, shares)
    if told is None:
        return NextWeights(np.ones(effects.shape[1]), 0.0, 1.0)
    limit = float(np.quantile(told.by_signs, CONFIDENCE))
    kept = max(0.0, 1 - limit / told.found) if told.found > 0 else 0.0
    size = np.sqrt((told.mean**2).mean())
    exponents = np.sqrt(kept) * told.mean / size if kept else np.zeros(len(told.mean))
    return NextWeights(np.clip(FACTOR**exponents, 1 / MOST, MOST), kept, told.chance)
