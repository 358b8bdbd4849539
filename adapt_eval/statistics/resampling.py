"""Tests and intervals without a formula for the distribution: sign flips and the bootstrap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 9_999
_EXACT_BELOW = 14  # 2^13 sign patterns are fewer than the resamples
_BATCH = 4_000_000  # numbers held at a time


def sign_flip_p_value(differences: Array, seed: int = 0) -> float:
    """Two-sided p-value of the paired permutation test: under the null each sign is a coin.

    All patterns where there are few, else R random ones with the observed one added to both counts.
    The same as `scipy.stats.permutation_test(permutation_type="samples")`, but holding only a
    bounded number of values, and leaving out zeros, which no flip changes.

    Args:
        differences: (n,).
    """
    moved = differences[differences != 0]
    observed = abs(float(moved.sum()))
    if not len(moved):
        return 1.0
    slack = 1e-9 * float(np.abs(moved).sum())  # rounding must not turn a tie into a miss
    if len(moved) < _EXACT_BELOW:
        patterns = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        sums = np.abs((1 - 2 * patterns) @ moved)
        return float(np.mean(sums >= observed - slack))
    random = np.random.default_rng(seed)
    reached, left = 0, RESAMPLES
    while left:
        size = min(left, max(1, _BATCH // len(moved)))
        flips = random.integers(0, 2, size=(size, len(moved)), dtype=np.int8)
        sums = np.abs(float(moved.sum()) - 2 * (flips.astype(np.float64) @ moved))
        reached += int(np.sum(sums >= observed - slack))
        left -= size
    return (reached + 1) / (RESAMPLES + 1)


def bootstrap_interval(
    differences: Array, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean of paired differences: R resamples of the n items.

    The same as `scipy.stats.bootstrap(paired=True, method="percentile")`.
    """
    n = len(differences)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    done = 0
    while done < RESAMPLES:
        size = min(RESAMPLES - done, max(1, _BATCH // n))
        chosen = random.integers(0, n, size=(size, n), dtype=np.int32)
        means[done : done + size] = differences[chosen].mean(axis=1)
        done += size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
