"""p-values and intervals are those of the definitions and of SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from adapt_eval.statistics import mcnemar
from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.paired import Estimate, estimate
from adapt_eval.statistics.power import largest_effect, minimum_detectable_effect
from adapt_eval.statistics.resampling import bootstrap_interval, sign_flip_p_value

COUNTS = [(0, 0), (1, 0), (0, 5), (3, 3), (10, 4), (40, 61), (7, 7), (500, 430)]


@pytest.mark.parametrize(("wins", "losses"), COUNTS)
def test_mcnemars_exact_value_is_the_binomial_test(wins: int, losses: int) -> None:
    if wins + losses:
        scipys = stats.binomtest(wins, wins + losses, 0.5).pvalue
        assert mcnemar.exact(wins, losses) == pytest.approx(scipys, rel=1e-9)


@pytest.mark.parametrize(("wins", "losses"), COUNTS)
def test_mid_p_is_its_literal_definition(wins: int, losses: int) -> None:
    total, least = wins + losses, min(wins, losses)
    outcomes = [math.comb(total, k) / 2**total for k in range(total + 1)]
    literal = min(1.0, 2 * (sum(outcomes[:least]) + outcomes[least] / 2))
    assert mcnemar.mid_p(wins, losses) == pytest.approx(1.0 if total == 0 else literal, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_few_items_get_every_pattern_of_signs(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.4, 1, 9)
    patterns = itertools.product([1, -1], repeat=9)
    sums = [abs(float(np.dot(signs, values))) for signs in patterns]
    literal = np.mean([one >= abs(values.sum()) - 1e-12 for one in sums])
    assert sign_flip_p_value(values) == pytest.approx(literal, rel=1e-12)
    scipys = stats.permutation_test(
        (values, np.zeros(9)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_p_value(values) == pytest.approx(scipys.pvalue, rel=1e-9)


def test_many_items_agree_with_scipys_permutation_test() -> None:
    random = np.random.default_rng(3)
    a, b = random.uniform(size=80) ** 0.8, random.uniform(size=80)
    scipys = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=9_999,
        vectorized=True,
        rng=0,
    )
    # Two Monte Carlo values of 9,999 draws each: four standard errors of their difference.
    error = 4 * math.sqrt(2 * scipys.pvalue * (1 - scipys.pvalue) / 9_999)
    assert sign_flip_p_value(a - b) == pytest.approx(scipys.pvalue, abs=error)


def test_the_bootstrap_interval_agrees_with_scipys() -> None:
    random = np.random.default_rng(4)
    a, b = random.uniform(size=200) ** 0.8, random.uniform(size=200)
    scipys = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        method="percentile",
        rng=1,
    ).confidence_interval
    width = scipys.high - scipys.low
    assert bootstrap_interval(a - b) == pytest.approx((scipys.low, scipys.high), abs=0.03 * width)


def test_holm_is_its_literal_definition() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    # Sorted: 0.005*4, 0.01*3, 0.03*2, 0.04*1, each at least the one before.
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)
    assert holm([0.7, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_detectable_effect_is_found_in_four_of_five_cases() -> None:
    random, n = np.random.default_rng(5), 400
    effect = minimum_detectable_effect(Estimate(0.0, 1 / math.sqrt(n), n - 1, n))
    found = sum(estimate(random.normal(effect, 1, n)).p_value < 0.05 for _ in range(2_000))
    assert found / 2_000 == pytest.approx(0.8, abs=0.03)


def test_ten_percent_discordance_gives_the_sizes_that_the_documentation_states() -> None:
    for n, points in ((164, 6.9), (1319, 2.4), (10042, 0.9)):
        error = math.sqrt(0.1 / n)
        assert 100 * minimum_detectable_effect(Estimate(0, error, n - 1, n)) == pytest.approx(
            points, abs=0.06
        )


def test_items_that_all_agree_do_not_rule_out_every_difference() -> None:
    same = estimate(np.zeros(100))
    assert largest_effect(same, same.interval()) == pytest.approx(0.03)
    assert minimum_detectable_effect(same) > 0.03


def test_clusters_that_all_agree_rule_out_less_than_their_items_would() -> None:
    same = estimate(np.zeros(270), np.repeat(np.arange(27), 10))
    assert largest_effect(same, same.interval()) == pytest.approx(3 / 27)
    assert minimum_detectable_effect(same) == pytest.approx(2.8 * math.sqrt(3) / 27)
