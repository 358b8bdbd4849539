"""Mean of paired differences, its standard error and interval, with or without clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: of n values.
        standard_error: of the mean.
        df: degrees of freedom: n - 1, or C - 1.
        n: values.
    """

    mean: float
    standard_error: float
    df: float
    n: int

    def tail(self, distance: float) -> float:
        """Probability that an estimate lies more than a distance above the truth."""
        return float(stdtr(self.df, -distance / self.standard_error))

    @property
    def p_value(self) -> float:
        """Two-sided, of Student's test against 0; 1 where nothing varies around 0."""
        if self.df < 1:
            return float("nan")
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stdtr(self.df, -abs(self.mean) / self.standard_error))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval."""
        if self.df < 1:
            return (float("nan"), float("nan"))
        half = float(stdtrit(self.df, (1 + level) / 2)) * self.standard_error
        return (self.mean - half, self.mean + half)


def estimate(values: Array, clusters: NDArray[np.int64] | None = None) -> Estimate:
    """Mean and standard error.

    Without clusters SE = sd(ddof=1)/sqrt(n), which makes the test `scipy.stats.ttest_rel`'s. With
    them SE^2 = C/(C-1) * sum_c (sum_{i in c} (d_i - mean))^2 / n^2: Miller's clustered SE with the
    correction for few clusters, so that clusters of one item give the same as none. Where all
    differ by the same, the error is that of the 3/C that may not (ours).

    Args:
        values: (n,), differences or scores.
        clusters: (n,), equal numbers for items that go together.
    """
    n = len(values)
    if n == 0:
        return Estimate(float("nan"), float("nan"), -1, 0)
    mean = float(np.mean(values))
    centred = values - mean
    sums = centred if clusters is None else np.bincount(_dense(clusters), weights=centred)
    groups = len(sums)
    if groups < 2:
        return Estimate(mean, float("nan"), groups - 1, n)
    squared = groups / (groups - 1) * float(np.sum(sums**2)) / n**2
    if mean != 0 and squared <= (1e-12 * mean) ** 2:
        # All alike is not certain: as many as 3 of C may still differ (the rule of three).
        squared = 3 * mean**2 / groups**2
    return Estimate(mean, float(np.sqrt(squared)), groups - 1, n)


def pool(parts: list[Estimate]) -> Estimate:
    """The unweighted mean of K independent estimates: SE = sqrt(sum SE_k^2)/K.

    Degrees of freedom after Welch and Satterthwaite.
    """
    variances = np.array([part.standard_error**2 for part in parts])
    total = float(variances.sum())
    mean = float(np.mean([part.mean for part in parts]))
    own = np.array([part.df for part in parts], dtype=float)
    spread = float(np.sum(variances**2 / own))
    df = total**2 / spread if spread > 0 else float(own.sum())
    return Estimate(mean, float(np.sqrt(total)) / len(parts), df, sum(part.n for part in parts))


def _dense(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)
