"""The error over seeds and items is that of the two-way table, and its limits are known tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adapt_eval.statistics.paired import estimate
from adapt_eval.statistics.two_level import SeedEstimate, mean_of, two_level


def scores(
    random: np.random.Generator, seeds: int, items: int, deviation: float = 0.02
) -> np.ndarray:
    """(S, n) with an effect of the item, of the seed and of both."""
    item = random.normal(0.5, 0.3, items)
    seed = random.normal(0, deviation, seeds)
    return np.asarray(item + seed[:, None] + random.normal(0, 0.2, (seeds, items)))


def test_paired_seeds_give_the_mean_squares_of_the_two_way_table() -> None:
    """Literal sums: Var = (MS_seed + MS_item - MS_rest) / (S n)."""
    random = np.random.default_rng(0)
    a, b = scores(random, 4, 60), scores(random, 4, 60)
    d = a - b
    by_seed, by_item, mean = d.mean(1), d.mean(0), d.mean()
    ms_seed = 60 * sum((m - mean) ** 2 for m in by_seed) / 3
    ms_item = 4 * sum((m - mean) ** 2 for m in by_item) / 59
    rest = [(d[s, i] - by_seed[s] - by_item[i] + mean) ** 2 for s in range(4) for i in range(60)]
    ms_rest = sum(rest) / (3 * 59)
    one = mean_of([two_level(a, b, None, paired=True)])
    assert one.mean == pytest.approx(mean, rel=1e-12)
    variance = (ms_seed + ms_item - ms_rest) / 240
    assert one.standard_error**2 == pytest.approx(variance, rel=1e-12)
    df = variance**2 / ((ms_seed / 240) ** 2 / 3 + ((ms_item - ms_rest) / 240) ** 2 / 59)
    assert one.df == pytest.approx(df, rel=1e-12)


def test_clusters_of_one_item_are_no_clusters_and_copies_of_an_item_are_one() -> None:
    random = np.random.default_rng(1)
    a, b = scores(random, 3, 50), scores(random, 5, 50)
    plain = two_level(a, b, None, paired=False)
    alone = two_level(a, b, np.arange(50), paired=False)
    assert (alone.v_items, alone.v_both) == pytest.approx((plain.v_items, plain.v_both), rel=1e-12)
    tens = two_level(
        np.repeat(a, 10, axis=1), np.repeat(b, 10, axis=1), np.repeat(np.arange(50), 10), False
    )
    assert (tens.v_items, tens.v_both) == pytest.approx((plain.v_items, plain.v_both), rel=1e-12)


def test_with_endless_items_it_is_welchs_test_over_seeds() -> None:
    """Items that all say the same add nothing."""
    random = np.random.default_rng(2)
    a = np.tile(random.normal(0.5, 0.02, (4, 1)), 40)
    b = np.tile(random.normal(0.48, 0.03, (6, 1)), 40)
    one = mean_of([two_level(a, b, None, paired=False)])
    welch = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    # Items that all differ by the same still count as 3/C that may not: the fourth digit.
    assert one.p_value == pytest.approx(welch.pvalue, rel=1e-3)
    paired = mean_of([two_level(a, b[:4], None, paired=True)])
    student = stats.ttest_rel(a[:, 0], b[:4, 0])
    # Behrens and Fisher's half is an average over 512 quantiles.
    assert paired.p_value == pytest.approx(student.pvalue, rel=0.01)


def test_without_effects_of_seeds_the_error_is_that_of_items() -> None:
    random = np.random.default_rng(3)
    item = random.normal(0, 0.3, 2000)
    a = item + random.normal(0, 0.02, (10, 2000))
    b = np.zeros((10, 2000))
    one = mean_of([two_level(a, b, None, paired=False)])
    items = estimate((a - b).mean(0))
    assert one.standard_error == pytest.approx(items.standard_error, rel=0.01)
    assert one.df > 100


@pytest.mark.parametrize("paired", [False, True])
def test_the_interval_holds_what_the_test_does_not_reject(paired: bool) -> None:
    random = np.random.default_rng(4)
    one = mean_of([two_level(scores(random, 3, 80), scores(random, 3, 80), None, paired)])
    low, high = one.interval()
    for end in (low, high):
        assert 2 * one.tail(abs(one.mean - end)) == pytest.approx(0.05, abs=1e-6)
    assert low < one.mean < high


def test_behrens_and_fishers_half_is_the_integral_it_stands_for() -> None:
    """A t variable for the seeds plus a normal one for the items, drawn."""
    one = SeedEstimate(0.0, math.sqrt(0.04 + 0.09), 5.0, 100, 0.04, 2.0, True)
    random = np.random.default_rng(5)
    drawn = 0.2 * random.standard_t(2, 400_000) + 0.3 * random.normal(size=400_000)
    fisher = np.mean(drawn > 0.8)
    student = stats.t.sf(0.8 / one.standard_error, 5)
    assert one.tail(0.8) == pytest.approx((fisher + student) / 2, abs=0.001)


def test_a_seed_that_is_good_everywhere_does_not_average_out_over_benchmarks() -> None:
    random = np.random.default_rng(6)
    common = random.normal(0, 0.05, (5, 1))
    parts = [
        two_level(
            0.5 + common + random.normal(0, 0.1, (5, 400)), np.full((5, 400), 0.5), None, False
        )
        for _ in range(20)
    ]
    over_seeds = float(np.std(common, ddof=1)) / math.sqrt(5)
    assert mean_of(parts).standard_error == pytest.approx(over_seeds, rel=0.1)


def test_identical_runs_have_no_error_and_no_difference() -> None:
    y = np.ones((3, 30))
    one = mean_of([two_level(y, y, None, paired=True)])
    assert (one.mean, one.standard_error, one.p_value) == (0.0, 0.0, 1.0)
    assert one.interval() == (0.0, 0.0)
