"""Equal runs are found different about as often as the tests say: 5 of 100 times.

`benchmarks/null_simulation.py` does the same at full size; its figures are in docs/evaluation.md.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from adapt_eval.comparison.benchmark import compare_pairs
from adapt_eval.comparison.pairing import Pairs
from adapt_eval.statistics.paired import estimate, pool

SIMULATIONS = 1000
# Four standard errors of a rate of 5 %.
ERROR = 4 * math.sqrt(0.05 * 0.95 / SIMULATIONS)


def equal_runs(random: np.random.Generator, items: int, size: int) -> Pairs:
    """Two runs of the same quality; clusters of `size` items share an effect of mean zero."""
    clusters = np.arange(items) // size
    ease = random.normal(0, 1, items)
    sides = []
    for _ in range(2):
        own = random.normal(0, 0.7, clusters[-1] + 1)[clusters] if size > 1 else 0.0
        right = random.uniform(size=items) < 1 / (1 + np.exp(-(ease + own)))
        sides.append(right.astype(float))
    return Pairs(sides[0], sides[1], clusters if size > 1 else None, (0, 0))


@pytest.mark.parametrize(("items", "size"), [(150, 1), (900, 1), (600, 15)])
def test_a_benchmark_rejects_at_the_nominal_rate(items: int, size: int) -> None:
    random = np.random.default_rng(items + size)
    pairs = [equal_runs(random, items, size) for _ in range(SIMULATIONS)]
    rate = np.mean([compare_pairs(one, 0.0).p_value < 0.05 for one in pairs])
    assert rate == pytest.approx(0.05, abs=ERROR)


def test_without_clusters_it_would_not() -> None:
    random = np.random.default_rng(1)
    pairs = [equal_runs(random, 600, 15) for _ in range(SIMULATIONS)]
    assert np.mean([estimate(one.a - one.b).p_value < 0.05 for one in pairs]) > 0.1


def test_the_primary_test_rejects_at_the_nominal_rate() -> None:
    random = np.random.default_rng(2)
    rejected = 0
    for _ in range(SIMULATIONS):
        shapes = ((150, 1), (300, 1), (300, 15))
        parts = [compare_pairs(equal_runs(random, *shape), 0.0).difference for shape in shapes]
        rejected += pool(parts).p_value < 0.05
    assert rejected / SIMULATIONS == pytest.approx(0.05, abs=ERROR)
