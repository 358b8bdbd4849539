"""Equivalence, the detectable effect and the weighted mean are those of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from adapt_eval.statistics import equivalence
from adapt_eval.statistics.paired import Estimate
from adapt_eval.statistics.power import detectable
from adapt_eval.statistics.weighted import weighted


@pytest.mark.parametrize(("wins", "losses"), [(40, 30), (5, 0), (1, 0), (30, 41), (200, 190)])
@pytest.mark.parametrize("margin", [0.01, 0.03, 0.1])
def test_the_score_test_is_the_likelihoods_maximum_under_the_margin(
    wins: int, losses: int, margin: float
) -> None:
    """Tango's z with the share of losses that maximises the trinomial likelihood, by a search."""
    items = 1000

    def one_sided(more: int, less: int) -> float:
        def surprise(q: float) -> float:
            p, rest = q + margin, 1 - 2 * q - margin
            ties = items - more - less
            parts = ((more, p), (less, q), (ties, rest))
            return -sum(count * math.log(share) for count, share in parts if count)

        found = optimize.minimize_scalar(
            surprise, bounds=(1e-12, (1 - margin) / 2 - 1e-12), options={"xatol": 1e-13}
        )
        variance = items * (2 * found.x + margin * (1 - margin))
        return float(stats.norm.cdf((more - less - items * margin) / math.sqrt(variance)))

    literal = max(one_sided(wins, losses), one_sided(losses, wins))
    assert equivalence.by_score(wins, losses, items, margin) == pytest.approx(literal, rel=1e-4)


def test_few_items_that_differ_do_not_make_the_score_test_sure() -> None:
    """1 of 200, margin of 3 points: as few have a probability of 0.016 if 3 points are true."""
    exact = stats.binom.cdf(1, 200, 0.03)
    assert equivalence.by_score(1, 0, 200, 0.03) == pytest.approx(exact, abs=0.005)
    students = equivalence.of_mean(Estimate(0.005, 0.005, 199, 200), 0.005, 0.03)
    assert students < 1e-6


def test_students_test_is_scipys_on_the_shifted_differences() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.1, 80)
    above = stats.ttest_1samp(values, 0.03, alternative="less").pvalue
    below = stats.ttest_1samp(values, -0.03, alternative="greater").pvalue
    error = float(np.std(values, ddof=1) / math.sqrt(80))
    found = equivalence.of_mean(Estimate(float(values.mean()), error, 79, 80), error, 0.03)
    assert found == pytest.approx(max(above, below), rel=1e-12)


@pytest.mark.parametrize("df", [4, 20, 1e6])
def test_the_detectable_effect_is_found_in_four_of_five_cases(df: float) -> None:
    """By the noncentral t; the sum of quantiles is an approximation, worst for few degrees."""
    effect = detectable(1.0, df, comparisons=3)
    reached = stats.t.ppf(1 - 0.025 / 3, df)
    power = stats.nct.sf(reached, df, effect)
    assert power == pytest.approx(0.8, abs=0.04)


def test_the_weighted_mean_has_inverse_variance_weights_and_meiers_correction() -> None:
    parts = [Estimate(0.1, 0.02, 50, 51), Estimate(0.3, 0.1, 10, 11)]
    w = np.array([1 / 0.02**2, 1 / 0.1**2])
    share = w / w.sum()
    one = weighted(parts)
    assert one.mean == pytest.approx(share @ [0.1, 0.3], rel=1e-12)
    inflated = (1 + 4 * (share * (1 - share) / [50, 10]).sum()) / w.sum()
    assert one.standard_error**2 == pytest.approx(inflated, rel=1e-12)
    assert one.df == pytest.approx(1 / (share**2 / [50, 10]).sum(), rel=1e-12)


def test_a_benchmark_without_any_difference_gets_no_endless_weight() -> None:
    one = weighted([Estimate(0.1, 0.01, 999, 1000), Estimate(0.0, 0.0, 19, 20)])
    assert one.mean == pytest.approx(0.1, abs=0.002)
