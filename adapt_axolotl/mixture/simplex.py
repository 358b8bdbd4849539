"""Points of the simplex: proportions that are not negative and sum to 1. K tasks."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(a_k) / sum_j exp(a_j), shifted by the largest logit so that nothing overflows. (K,)."""
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def entropy(proportions: np.ndarray) -> float:
    """H(p) = -sum_k p_k log p_k in nats; 0 log 0 is 0."""
    positive = proportions[proportions > 0]
    return float(-(positive * np.log(positive)).sum())


def with_floor(proportions: np.ndarray, floor: float) -> np.ndarray:
    """floor + (1 - K floor) p: no share below `floor`, the order of the shares kept (ours).

    Args:
        proportions: (K,).
        floor: an absolute share, at most 1/K.
    """
    room = 1 - len(proportions) * floor
    assert room >= 0, "a floor above 1/K leaves no simplex"
    return floor + room * proportions


def cap_weights(weights: np.ndarray, cap: float) -> np.ndarray:
    """Weights of at most `cap`, what is cut going to the others in proportion (ours).

    The worst-case weights of CVaR have this form: no task may take more than its capped part.

    Args:
        weights: (K,) on the simplex.
        cap: an absolute share, at least 1/K.

    Raises:
        ValueError: K weights of at most `cap` cannot sum to 1.
    """
    if len(weights) * cap < 1 - 1e-12:
        raise ValueError(
            f"a weight cap of {cap} is too low for {len(weights)} tasks; it must be at least "
            f"{1 / len(weights):.4f}"
        )
    capped = weights.astype(np.float64).copy()
    fixed = np.zeros(len(capped), dtype=bool)
    # Each pass fixes at least one more weight at the cap, so K passes are enough.
    while (over := (capped > cap * (1 + 1e-12)) & ~fixed).any():
        fixed |= over
        capped[fixed] = cap
        rest = max(0.0, 1 - cap * fixed.sum())
        loose = capped[~fixed].sum()
        if loose > 0:
            capped[~fixed] *= rest / loose
        elif (~fixed).any():
            capped[~fixed] = rest / (~fixed).sum()
    return capped
