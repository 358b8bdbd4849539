"""The difference of two ways of training: its error over training seeds and over items.

Legend: S seeds of an arm, n items, C clusters, y scores of shape (S, n). Every seed answers the
same items, so seeds and items are crossed random effects, as readers and cases are where many
readers judge the same images; the analysis is theirs (Hillis 2007, Stat. Med. 26:596, and
Obuchowski and Rockette 1995, Commun. Stat. B 24:285). With

- v_seeds: the variance of a mean over S seeds, from the spread of the seeds' own means. It holds
  what the seed does, and what seed and item do together, averaged over the items;
- v_items: the squared (clustered) error of a mean over items, from scores averaged over seeds. It
  holds what the item does, and the same interaction;
- v_both: the interaction's share in either, from what is left of y when both means are taken off;

the variance of the difference is v_seeds + max(v_items - v_both, 0), with the degrees of freedom of
Satterthwaite (1946, Biometrics 2:110), as Hillis has them: those of the seeds, and more the more of
the variance is the items'.

Where seeds are paired, one spread with S - 1 degrees of freedom is all that is known of them, and
Student's test with such degrees rejects 5 to 8 % of true nulls at 5 % for S = 3. The test of
Behrens and Fisher (Student's for the seeds, the normal distribution for the items, added up)
rejects 2.3 to 4.9 %. The p-value is the mean of both (ours): 3 to 6 % for S = 3, 4 to 5.5 % for
S = 5. With two independent spreads Satterthwaite's rejects 4 to 5.5 % and is taken as it is.
benchmarks/seed_simulation.py measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, stdtr

from adapt_eval.statistics.paired import Estimate, estimate

Array = NDArray[np.float64]

# Quantiles of chi-square and their weights: the weighted mean over them is an integral over its
# distribution. They lie close together near 0, where small p-values come from.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)
_ROOTS = (_NODES + 1) / 2
_QUANTILES, _WEIGHTS = _ROOTS**4, 2 * _NODE_WEIGHTS * _ROOTS**3


@dataclass(frozen=True)
class SeedEstimate(Estimate):
    """A difference with its uncertainty over seeds and items.

    Attributes:
        v_seeds: the seeds' part of the variance.
        df_seeds: its degrees of freedom.
        paired: whether it is one spread, that of paired seeds.
    """

    v_seeds: float
    df_seeds: float
    paired: bool

    def tail(self, distance: float) -> float:
        """Probability that an estimate lies more than a distance above the truth."""
        student = float(stdtr(self.df, -distance / self.standard_error))
        if not self.paired:
            return student
        chi_square = 2 * gammaincinv(self.df_seeds / 2, _QUANTILES)
        variances = self.v_seeds * self.df_seeds / chi_square + self._v_items
        fisher = float(_WEIGHTS @ ndtr(-distance / np.sqrt(variances)))
        return (student + fisher) / 2

    @property
    def _v_items(self) -> float:
        return max(0.0, self.standard_error**2 - self.v_seeds)

    @property
    def p_value(self) -> float:
        """Two-sided, against 0; 1 where nothing varies around 0."""
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return 2 * self.tail(abs(self.mean))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The differences that the test does not reject."""
        if self.standard_error == 0:
            return (self.mean, self.mean)
        # Only here: it takes longer to import than two runs of one seed to compare.
        from scipy.optimize import brentq

        wanted = (1 - level) / 2
        far = 2 * self.standard_error
        while self.tail(far) > wanted:
            far *= 2
        half = brentq(lambda distance: self.tail(distance) - wanted, 0.0, far, xtol=1e-12)
        return (self.mean - half, self.mean + half)


@dataclass(frozen=True)
class TwoLevel:
    """What the error of a difference is made of, for one benchmark.

    Attributes:
        a, b: mean of each seed over the items, shapes (S_a,) and (S_b,).
        paired: whether the seeds of both arms are the same, in the same order.
        items: the error of items alone, from scores averaged over seeds.
        v_items: max(v_items - v_both, 0): what items add to the variance of the difference.
        v_both: the interaction's share.
        one_seed_both: the same for one seed of each arm instead of S.
    """

    a: Array
    b: Array
    paired: bool
    items: Estimate
    v_items: float
    v_both: float
    one_seed_both: float


def two_level(a: Array, b: Array, clusters: NDArray[np.int64] | None, paired: bool) -> TwoLevel:
    """
    Args:
        a, b: (S_a, n) and (S_b, n) scores; at least two seeds each.
        clusters: (n,), equal numbers for items that go together; None where they are independent.
        paired: whether row s of a and row s of b are of the same training seed.
    """
    assert min(len(a), len(b)) > 1
    items = estimate(a.mean(axis=0) - b.mean(axis=0), clusters)
    sides = [a - b] if paired else [a, b]
    own = [_both(side, clusters) for side in sides]
    v_both = sum(own)
    v_items = max(0.0, items.standard_error**2 - v_both)
    alone = sum(len(side) * one for side, one in zip(sides, own, strict=True))
    return TwoLevel(a.mean(axis=1), b.mean(axis=1), paired, items, v_items, v_both, alone)


def mean_of(parts: list[TwoLevel], weights: Array | None = None) -> SeedEstimate:
    """The difference of the arms' means over K benchmarks, over seeds and items.

    The seeds' part is taken from each seed's mean over the benchmarks: a seed that is good on one
    is mostly good on others, so their errors do not average out as those of items do.

    Args:
        parts: of the same arms and seeds.
        weights: (K,) that add up to 1; equal ones by default.
    """
    if weights is None:
        weights = np.full(len(parts), 1 / len(parts))
    a = np.tensordot(weights, np.array([part.a for part in parts]), 1)
    b = np.tensordot(weights, np.array([part.b for part in parts]), 1)
    paired = parts[0].paired
    seeds = [_variance(a - b)] if paired else [_variance(a), _variance(b)]
    own = [(w**2 * part.v_items, part.items.df) for w, part in zip(weights, parts, strict=True)]
    v_seeds, df_seeds = _added(seeds)
    variance, df = _added([*seeds, *own])
    return SeedEstimate(
        mean=float(a.mean() - b.mean()),
        standard_error=float(np.sqrt(variance)),
        df=df,
        n=sum(part.items.n for part in parts),
        v_seeds=v_seeds,
        df_seeds=df_seeds,
        paired=paired,
    )


def _added(components: list[tuple[float, float]]) -> tuple[float, float]:
    """Sum of independent variances and, after Satterthwaite, its degrees of freedom."""
    variance = sum(value for value, _ in components)
    spread = sum(value**2 / df for value, df in components if df > 0)
    return variance, variance**2 / spread if spread > 0 else sum(df for _, df in components)


def _variance(means: Array) -> tuple[float, float]:
    """Squared error of the mean of S seeds, and its degrees of freedom."""
    return float(np.var(means, ddof=1)) / len(means), len(means) - 1.0


def _both(y: Array, clusters: NDArray[np.int64] | None) -> float:
    """The variance of a mean over S seeds and n items that is due to their interaction.

    Without clusters that is the residual mean square of the two-way table over S n.
    """
    seeds, n = y.shape
    rest = y - y.mean(axis=1, keepdims=True)
    if clusters is not None:
        numbers = np.unique(clusters, return_inverse=True)[1]
        rest = np.stack([np.bincount(numbers, weights=one) for one in rest])
    groups = rest.shape[1]
    if groups < 2:
        return 0.0
    left = rest - rest.mean(axis=0)
    scale = groups / (groups - 1) / ((seeds - 1) * seeds * n**2)
    return float(scale * np.sum(left**2))
