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


def with_floor(proportions: np.ndarray, initial: np.ndarray, floor: float) -> np.ndarray:
    """floor p0 + (1 - floor) p: no task loses more than its initial share but for `floor` of it
    (ours).

    Args:
        proportions: (K,) p.
        initial: (K,) p0.
        floor: a part of p0.

    Raises:
        ValueError: the floor is none.
    """
    if not 0 <= floor <= 1:
        raise ValueError(
            f"adapt.floor: {floor:g} is no part of a task's initial share; set it between 0 and 1"
        )
    return floor * initial + (1 - floor) * proportions


def cap_weights(weights: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Weights of at most `caps`, what is cut going to the others in proportion (ours).

    The worst-case weights of CVaR have this form: no task may take more than its capped part.

    Args:
        weights: (K,) on the simplex.
        caps: (K,) absolute shares above 0 that sum to 1 or more.
    """
    assert caps.sum() > 1 - 1e-12, f"weights of at most {caps} cannot sum to 1"
    capped = weights.astype(np.float64).copy()
    fixed = np.zeros(len(capped), dtype=bool)
    # Each pass fixes at least one more weight at the cap, so K passes are enough.
    while (over := (capped > caps * (1 + 1e-12)) & ~fixed).any():
        fixed |= over
        capped[fixed] = caps[fixed]
        rest = max(0.0, 1 - caps[fixed].sum())
        loose = capped[~fixed].sum()
        if loose > 0:
            capped[~fixed] *= rest / loose
        elif (~fixed).any():
            capped[~fixed] = rest * caps[~fixed] / caps[~fixed].sum()
    # Those within rounding of the cap were left alone above.
    return np.minimum(capped, caps)
