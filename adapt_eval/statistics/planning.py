"""How many seeds and items it takes to find a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adapt_eval.statistics.paired import Estimate
from adapt_eval.statistics.power import FACTOR, detectable
from adapt_eval.statistics.two_level import Array, TwoLevel

MOST_SEEDS = 200


@dataclass(frozen=True)
class Parts:
    """What the variance of a difference is made of, for one seed an arm and the items at hand.

    Attributes:
        seeds: of the seeds alone: sum of both arms, or that of paired differences.
        both: of seed and item together, averaged over the items.
        items: of the items alone.
        paired: whether seeds are paired: S of them then tell S - 1 deviations, else 2 (S - 1).
        df_items: degrees of freedom of the items' part.
    """

    seeds: float
    both: float
    items: float
    paired: bool
    df_items: float

    def reached(self, seeds: int, more_items: float = 1) -> float:
        """Smallest true difference found in 4 of 5 cases, by S seeds an arm.

        Args:
            seeds: S, at least 2.
            more_items: how many times the items at hand.
        """
        over_seeds = (self.seeds + self.both / more_items) / seeds
        over_items = self.items / more_items
        df = (seeds - 1) * (1 if self.paired else 2)
        spread = over_seeds**2 / df + over_items**2 / (self.df_items * more_items)
        variance = over_seeds + over_items
        return detectable(math.sqrt(variance), variance**2 / spread if spread else float(df))

    def seeds_for(self, effect: float, more_items: float = 1) -> int | None:
        """The least S that finds an effect in 4 of 5 cases; None where no number does, because the
        items alone hide it, or more than 200 would be needed."""
        if FACTOR * math.sqrt(self.items / more_items) >= effect:
            return None
        for seeds in range(2, MOST_SEEDS + 1):
            if self.reached(seeds, more_items) <= effect:
                return seeds
        return None


def parts_of(levels: list[TwoLevel]) -> Parts:
    """From runs of several seeds: of the unweighted mean of K benchmarks, or of one.

    A spread that is no larger than what seed and item together make of it leaves nothing to the
    seeds.
    """
    k = len(levels)
    a = np.mean([one.a for one in levels], axis=0)
    b = np.mean([one.b for one in levels], axis=0)
    spread = _variance(a - b) if levels[0].paired else _variance(a) + _variance(b)
    both = sum(one.one_seed_both for one in levels) / k**2
    own = [one.v_items / k**2 for one in levels]
    squares = sum(v**2 / one.items.df for v, one in zip(own, levels, strict=True))
    df = sum(own) ** 2 / squares if squares else sum(one.items.df for one in levels)
    return Parts(max(0.0, spread - both), both, sum(own), levels[0].paired, df)


def parts_assumed(difference: Estimate, deviation: float) -> Parts:
    """From one run a side, with a deviation of a seed's score that is assumed: the items' error
    cannot be told from that of seed and item together, and is taken for the items'."""
    return Parts(2 * deviation**2, 0.0, difference.standard_error**2, False, difference.df)


def _variance(means: Array) -> float:
    return float(np.var(means, ddof=1))
