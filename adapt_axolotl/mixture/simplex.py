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

    Raises:
        ValueError: K shares of at least `floor` cannot sum to 1.
    """
    count = len(proportions)
    room = 1 - count * floor
    if not (floor >= 0 and room > -1e-12):
        raise ValueError(
            f"adapt.floor: a least share of {floor:.4g} does not fit {count} tasks, whose equal "
            f"share is {1 / count:.4g}; it is given as a part of that, so set it between 0 and 1"
        )
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
            f"cap: weights of at most {cap:.4g} cannot sum to 1 over {len(weights)} tasks; set it "
            f"to {1 / len(weights):.4f} or more"
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
    # Those within rounding of the cap were left alone above.
    return np.minimum(capped, cap)
