"""Effects that differ alike at all checkpoints are told from those of single moments."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from adapt_axolotl.mixture.checkpoint_signs import LEAST_CHECKPOINTS, across_checkpoints

EVEN = np.full(8, 1 / 8)


def swinging(rng: np.random.Generator, count: int, kin: float = 0.0) -> np.ndarray:
    """(M, 8) of checkpoints of all sizes, where the first three tasks swing together and help by
    `kin` on average; all help alike besides."""
    first = np.arange(8) < 3
    common = rng.standard_normal((count, 1)) * first
    found = 0.3 + common + 0.3 * rng.standard_normal((count, 8)) + kin * first
    return np.asarray(10.0 ** rng.uniform(-2, 2, (count, 1)) * found)


def chance(effects: np.ndarray, shares: np.ndarray = EVEN) -> float:
    told = across_checkpoints(effects, shares)
    assert told is not None
    return told.chance


@pytest.mark.parametrize("count", [6, 12, 20])
def test_without_a_difference_chances_are_even(count: int) -> None:
    rng = np.random.default_rng(0)
    chances = np.array([chance(swinging(rng, count)) for _ in range(300)])
    # Of 300 draws, by three standard errors.
    for level in (0.05, 0.25, 0.5):
        assert np.mean(chances <= level) < level + 3 * np.sqrt(level * (1 - level) / 300)
    assert np.mean(chances <= 0.5) > 0.5 - 3 * np.sqrt(0.25 / 300) - 2.0 ** (1 - count)


def test_a_difference_that_lasts_is_told() -> None:
    rng = np.random.default_rng(1)
    chances = [chance(swinging(rng, 20, kin=1.5)) for _ in range(50)]
    assert np.mean(np.array(chances) < 0.05) > 0.9


def test_the_chance_is_as_the_formula_says() -> None:
    effects = swinging(np.random.default_rng(2), 7, kin=1.0)
    shares = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    c = []
    for one in effects:
        d = one - sum(q * e for q, e in zip(shares, one, strict=True))
        c.append(d / np.sqrt(np.mean(d**2)))
    by_signs = [
        np.sum(np.mean([s * one for s, one in zip(signs, c, strict=True)], axis=0) ** 2)
        for signs in product((1, -1), repeat=7)
    ]
    found = np.sum(np.mean(c, axis=0) ** 2)
    assert chance(effects, shares) == pytest.approx(np.mean(np.array(by_signs) >= found - 1e-12))


def test_too_few_checkpoints_or_none_that_tells_tasks_apart_say_nothing() -> None:
    rng = np.random.default_rng(3)
    assert across_checkpoints(swinging(rng, LEAST_CHECKPOINTS - 1), EVEN) is None
    flat = np.full((10, 8), 0.2)
    assert across_checkpoints(flat, EVEN) is None
