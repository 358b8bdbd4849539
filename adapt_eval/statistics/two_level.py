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

With two independent spreads that is the test. Where seeds are paired, one spread with S - 1 degrees
of freedom is all that is known of them, and for S = 3 Student's test with Satterthwaite's degrees
rejects 5 to 8 % of true nulls at 5 % and up to 2.8 % at .0056, where Holm's correction of nine
benchmarks looks: the spread is small by chance more often than it allows for. So there the p-value
is an average over what the seeds' variance V may be, given v_seeds. Which prior of V makes of such
averages rates of rejection, but for terms in 1 / (S - 1)^2? 1 / V makes them too large where seeds
and items both count (it is the test of Behrens and Fisher, and rejects 2.5 to 4.8 %);
(V + v_items) / V^2 cancels that (for such priors: Welch and Peers 1963, J. R. Stat. Soc. B 25:318;
this one is derived here). As V^-1 and V^-2 give chi-squares with S - 1 and S + 1 degrees of
freedom, the average is that of two tests, weighted with the seeds' and the items' shares in the
variance.

With three seeds those terms still count where v_seeds comes out far below the truth, and with it
the seeds' share and the degrees of freedom. But V is at least v_both, which many items tell well.
So in the share of paired seeds V is taken for no less than half of v_both, and in the degrees of
freedom of others for no less than an eighth; never in the error (the fractions are ours, measured:
larger ones find less of what is true, smaller ones leave small p-values too often). Where items add
nothing, either is Student's test on the seeds' means. benchmarks/seed_simulation.py measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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

# The least that the seeds' variance is taken for, in parts of the interaction's.
_LEAST_PAIRED, _LEAST_APART = 1 / 2, 1 / 8


@dataclass(frozen=True)
class SeedEstimate(Estimate):
    """A difference with its uncertainty over seeds and items.

    Attributes:
        v_seeds: the seeds' part of the variance.
        df_seeds: its degrees of freedom.
        v_items: the items' part.
        df_items: its degrees of freedom.
        v_both: what v_seeds holds of the interaction of seed and item.
        paired: whether it is one spread, that of paired seeds.
    """

    v_seeds: float
    df_seeds: float
    v_items: float
    df_items: float
    v_both: float
    paired: bool

    def tail(self, distance: float) -> float:
        """Probability that an estimate lies more than a distance above the truth."""
        if not self.paired:
            return float(stdtr(self.df, -distance / self.standard_error))
        at_least = max(self.v_seeds, _LEAST_PAIRED * self.v_both)
        share = at_least / (at_least + self.v_items)
        fewer, more = (self._averaged(distance, self.df_seeds + added) for added in (0, 2))
        return share * fewer + (1 - share) * more

    def _averaged(self, distance: float, df: float) -> float:
        """The tail, averaged over the seeds' variance: v_seeds df_seeds / chi-square of df."""
        variances = self.v_seeds * self.df_seeds / _chi_squares(df) + self.v_items
        far = -distance / np.sqrt(variances)
        if self.v_items == 0:
            return float(_WEIGHTS @ ndtr(far))
        # After Satterthwaite, with the seeds' variance for known. The limit changes no digit.
        degrees = np.minimum(self.df_items * (variances / self.v_items) ** 2, 1e12)
        return float(_WEIGHTS @ stdtr(degrees, far))

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
    v_items, df_items = _added(own)
    v_both = sum(w**2 * part.v_both for w, part in zip(weights, parts, strict=True))
    at_least = v_seeds if paired else max(v_seeds, _LEAST_APART * v_both)
    df = _added([(at_least, df_seeds), (v_items, df_items)])[1]
    return SeedEstimate(
        mean=float(a.mean() - b.mean()),
        standard_error=float(np.sqrt(v_seeds + v_items)),
        df=df,
        n=sum(part.items.n for part in parts),
        v_seeds=v_seeds,
        df_seeds=df_seeds,
        v_items=v_items,
        df_items=df_items,
        v_both=v_both,
        paired=paired,
    )


@cache
def _chi_squares(df: float) -> Array:
    return np.asarray(2 * gammaincinv(df / 2, _QUANTILES))


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
