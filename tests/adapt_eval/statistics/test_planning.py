"""What the plan asks for finds the wanted effect in four of five cases."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_eval.statistics.planning import Parts, parts_of
from adapt_eval.statistics.two_level import mean_of, two_level

ITEMS = 300


def drawn(
    random: np.random.Generator, seeds: int, deviation: float, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Both arms, (S, n): item effects of 0.2 in each arm, 0.4 for seed and item together."""

    def arm(level: float) -> np.ndarray:
        own = random.normal(0, deviation, (seeds, 1))
        item = random.normal(0, 0.2, ITEMS)
        return np.asarray(level + own + item + random.normal(0, 0.4, (seeds, ITEMS)))

    return arm(effect), arm(0.0)


def test_parts_are_those_that_were_put_in() -> None:
    random = np.random.default_rng(0)
    found = [parts_of([two_level(*drawn(random, 6, 0.05), None, paired=False)]) for _ in range(300)]
    assert np.mean([one.seeds for one in found]) == pytest.approx(2 * 0.05**2, rel=0.1)
    assert np.mean([one.both for one in found]) == pytest.approx(2 * 0.4**2 / ITEMS, rel=0.05)
    assert np.mean([one.items for one in found]) == pytest.approx(2 * 0.2**2 / ITEMS, rel=0.1)


@pytest.mark.parametrize(("deviation", "effect"), [(0.02, 0.08), (0.05, 0.08), (0.01, 0.06)])
def test_the_seeds_asked_for_find_the_effect_in_four_of_five_cases(
    deviation: float, effect: float
) -> None:
    truth = Parts(
        2 * deviation**2, 2 * 0.4**2 / ITEMS, 2 * 0.2**2 / ITEMS, False, df_items=ITEMS - 1
    )
    seeds = truth.seeds_for(effect)
    assert seeds is not None
    random = np.random.default_rng(1)

    def power(seeds: int) -> float:
        tests = [
            mean_of([two_level(*drawn(random, seeds, deviation, effect), None, False)]).p_value
            for _ in range(400)
        ]
        return float(np.mean(np.array(tests) < 0.05))

    assert power(seeds) > 0.75
    if seeds > 2:
        assert power(seeds - 1) < 0.84


def test_what_items_hide_no_number_of_seeds_finds() -> None:
    truth = Parts(2 * 0.01**2, 0.0, 0.02**2, False, df_items=200)
    assert truth.seeds_for(0.03) is None
    assert truth.seeds_for(0.03, more_items=16) is not None
