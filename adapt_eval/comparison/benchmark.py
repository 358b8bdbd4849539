"""One benchmark, two arms: the difference, its uncertainty and the minimum detectable effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt_eval.comparison.pairing import Pairs
from adapt_eval.comparison.schema import AtChance
from adapt_eval.statistics import equivalence, mcnemar
from adapt_eval.statistics.paired import Estimate, estimate
from adapt_eval.statistics.power import (
    detectable,
    largest_effect,
    minimum_detectable_effect,
    planning_error,
)
from adapt_eval.statistics.resampling import bootstrap_interval, sign_flip_p_value
from adapt_eval.statistics.two_level import TwoLevel, mean_of, two_level


@dataclass(frozen=True)
class PairedComparison:
    """The difference of two arms on the items of one benchmark.

    Attributes:
        a, b: mean scores.
        difference: mean of a - b, with its standard error.
        interval: at 95 %, not corrected for the number of comparisons.
        p_value: two-sided, not corrected; `test` says of what.
        p_equivalence: two one-sided tests, not corrected: that the difference is within the margin.
        error: the standard error, or what stands for it where nothing varies.
        detectable: minimum detectable effect, before correction.
        ruled_out: larger effects are ruled out, at 95 %.
        wins, ties, losses: items on which a is better, equal, worse.
        clusters: how many; None where items are independent.
        p_exact: exact McNemar; None where items are not right or wrong.
        at_chance: whether each arm scores no better than guessing.
        levels: what the error is made of; None where an arm has one seed, and the error is that of
            items alone.
    """

    a: float
    b: float
    difference: Estimate
    interval: tuple[float, float]
    p_value: float
    test: str
    p_equivalence: float
    error: float
    detectable: float
    ruled_out: float
    wins: int
    ties: int
    losses: int
    clusters: int | None
    p_exact: float | None
    at_chance: AtChance
    levels: TwoLevel | None = None


def guess(chance: float, floor: float | None) -> float:
    """The score that has to be beaten to show anything: the larger of chance and floor."""
    return max(chance, floor or 0.0)


def compare_pairs(
    pairs: Pairs, guessing: float, margin: float = 0.03, chance: float | None = None
) -> PairedComparison:
    """Compare two arms item by item.

    Several seeds in both arms: the two-level test over seeds and items. Else, clustered items:
    Student's test on the clustered error. Others: McNemar's mid-p if both arms scored each item
    right or wrong; sign flips and the bootstrap for scores between.

    Args:
        guessing: score of the best kind of guessing.
        margin: the smallest difference that matters; also up to how far above guessing an arm
            counts as at chance.
        chance: score of random guessing, if that is lower.
    """
    d = pairs.a - pairs.b
    difference, levels = estimate(d, pairs.clusters), None
    error = planning_error(difference)
    test = "clustered t"
    if pairs.seeds is not None:
        levels = two_level(*pairs.seeds, pairs.clusters, pairs.same_seeds)
        difference = mean_of([levels])
        error = difference.standard_error or error
        test = "two-level t, seeds and items"
    interval, p_value = difference.interval(), difference.p_value
    wins, losses, p_exact = int(np.sum(d > 0)), int(np.sum(d < 0)), None
    p_equivalence = equivalence.of_mean(difference, error, margin)
    if levels is None and pairs.clusters is None and len(d) > 1:
        if _binary(pairs.a) and _binary(pairs.b):
            p_value, test = mcnemar.mid_p(wins, losses), "McNemar mid-p"
            p_exact = mcnemar.exact(wins, losses)
            p_equivalence = equivalence.by_score(wins, losses, len(d), margin)
        else:
            p_value, test = sign_flip_p_value(d), "sign flips"
            interval = bootstrap_interval(d)
    bounded = levels.items if levels and difference.standard_error == 0 else difference
    return PairedComparison(
        a=float(pairs.a.mean()),
        b=float(pairs.b.mean()),
        difference=difference,
        # Scores lie between 0 and 1: no difference is larger, whatever Student says of few items.
        interval=(max(-1.0, interval[0]), min(1.0, interval[1])),
        p_value=p_value,
        test=test,
        p_equivalence=p_equivalence,
        error=error,
        detectable=(
            minimum_detectable_effect(difference)
            if levels is None
            else detectable(error, difference.df)
        ),
        ruled_out=largest_effect(bounded, interval),
        wins=wins,
        ties=int(np.sum(d == 0)),
        losses=losses,
        clusters=None if pairs.clusters is None else len(np.unique(pairs.clusters)),
        p_exact=p_exact,
        at_chance=AtChance(
            a=_near(pairs.a, pairs, guessing, margin, chance),
            b=_near(pairs.b, pairs, guessing, margin, chance),
        ),
        levels=levels,
    )


def _binary(scores: NDArray[np.float64]) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))


def _near(
    scores: NDArray[np.float64],
    pairs: Pairs,
    guessing: float,
    margin: float,
    chance: float | None,
) -> bool:
    """Whether the mean score is hardly above guessing and its interval reaches what guessing gives:
    the interval of a few items alone reaches far, whatever the score. A score that is lower by more
    than its error is no guess: something is wrong with that model."""
    own = estimate(scores, pairs.clusters)
    low, high = own.interval()
    lowest = guessing if chance is None else min(chance, guessing)
    return bool(low <= guessing and own.mean <= guessing + margin and high >= lowest)
