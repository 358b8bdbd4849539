"""The standard errors are the literal definitions and SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adapt_eval.statistics.paired import Estimate, estimate, pool


@pytest.mark.parametrize("seed", range(5))
def test_without_clusters_it_is_scipys_paired_t_test(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(0.3, 1, 50), random.normal(0, 1, 50)
    ours, scipys = estimate(a - b), stats.ttest_rel(a, b)
    assert ours.p_value == pytest.approx(scipys.pvalue, rel=1e-9)
    interval = scipys.confidence_interval(0.95)
    assert ours.interval() == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_clustered_error_is_its_literal_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    values, clusters = random.normal(size=60), random.integers(0, 12, 60) * 7
    mean = sum(values) / 60
    names = sorted(set(clusters))
    squares = 0.0
    for name in names:
        inside = [v - mean for v, c in zip(values, clusters, strict=True) if c == name]
        for one in inside:
            for other in inside:
                squares += one * other
    few = len(names) / (len(names) - 1)
    ours = estimate(values, clusters)
    assert ours.standard_error == pytest.approx(math.sqrt(few * squares) / 60, rel=1e-12)
    assert ours.df == len(names) - 1


def test_clusters_of_one_item_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=30)
    alone, none = estimate(values, np.arange(30)), estimate(values)
    assert alone.standard_error == pytest.approx(none.standard_error, rel=1e-12)
    assert alone.df == none.df


def test_copies_of_an_item_in_its_cluster_are_no_new_evidence() -> None:
    values = np.random.default_rng(0).normal(size=30)
    copied = estimate(np.repeat(values, 4), np.repeat(np.arange(30), 4))
    assert copied.standard_error == pytest.approx(estimate(values).standard_error, rel=1e-12)


def test_the_pooled_mean_is_unweighted_and_its_error_the_root_of_squares() -> None:
    parts = [Estimate(0.1, 0.03, 99, 100), Estimate(-0.02, 0.01, 999, 1000)]
    pooled = pool(parts)
    assert pooled.mean == pytest.approx(0.04, rel=1e-12)
    assert pooled.standard_error == pytest.approx(math.sqrt(0.03**2 + 0.01**2) / 2, rel=1e-12)


def test_pooled_degrees_of_freedom_are_welchs() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=12), random.normal(0, 3, size=30)
    # The mean of a and -b is half the difference of their means: Welch's test.
    pooled = pool([estimate(a), estimate(-b)])
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert pooled.df == pytest.approx(welch.df, rel=1e-12)
    assert pooled.p_value == pytest.approx(welch.pvalue, rel=1e-9)


def test_values_that_do_not_vary_and_single_values() -> None:
    assert estimate(np.zeros(10)).p_value == 1.0
    assert math.isnan(estimate(np.ones(1)).p_value)
    assert math.isnan(estimate(np.ones(5), np.zeros(5, dtype=np.int64)).standard_error)


def test_differences_that_are_all_alike_are_not_certain() -> None:
    """The rule of three: 3 of C may still differ. Two items won of two prove nothing."""
    few = estimate(np.ones(2))
    assert few.standard_error == pytest.approx(np.sqrt(3) / 2)
    assert pool([few, few]).p_value > 0.2
    assert estimate(np.ones(1000)).p_value < 1e-6
    grouped = estimate(np.full(40, 0.5), np.repeat([0, 1, 2, 3], 10))
    assert grouped.standard_error == pytest.approx(0.5 * np.sqrt(3) / 4)
