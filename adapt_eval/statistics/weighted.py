"""The mean of benchmarks weighted by precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt_eval.statistics.paired import Estimate
from adapt_eval.statistics.power import planning_error

Array = NDArray[np.float64]


def precision_weights(parts: list[Estimate]) -> Array:
    """(K,) weights that add up to 1, each inverse to the variance of its benchmark."""
    precision = np.array([planning_error(part) ** -2 for part in parts])
    return precision / precision.sum()


def weighted(parts: list[Estimate]) -> Estimate:
    """The mean of K independent estimates, weighted by precision.

    Weights that are themselves estimated make the plain 1/sum(1/SE_k^2) too small; the variance is
    multiplied by 1 + 4 sum w_k (1 - w_k)/df_k (Meier 1953, Biometrics 9:59). Degrees of freedom:
    1 / sum(w_k^2/df_k).
    """
    weights = precision_weights(parts)
    own = np.array([part.df for part in parts], dtype=float)
    variance = 1 / float(np.sum([planning_error(part) ** -2 for part in parts]))
    variance *= 1 + 4 * float(np.sum(weights * (1 - weights) / own))
    mean = float(np.sum(weights * np.array([part.mean for part in parts])))
    df = 1 / float(np.sum(weights**2 / own))
    return Estimate(mean, float(np.sqrt(variance)), df, sum(part.n for part in parts))
