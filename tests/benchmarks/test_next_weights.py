"""Weights of a next run by effects at checkpoints. K tasks, M checkpoints."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from next_weights import FACTOR, MOST, next_weights

EVEN = np.full(8, 1 / 8)


def swinging(rng: np.random.Generator, count: int, kin: float = 0.0) -> np.ndarray:
    """(M, 8) of checkpoints of all sizes, where the first three tasks swing together, are noisier
    than the others and help by `kin` on average; all help alike besides."""
    common = rng.standard_normal((count, 1)) * (np.arange(8) < 3)
    found = 0.3 + common + 0.3 * rng.standard_normal((count, 8)) + kin * (np.arange(8) < 3)
    return np.asarray(10.0 ** rng.uniform(-2, 2, (count, 1)) * found)


def test_where_no_task_helps_more_nearly_all_runs_stay_as_they_were() -> None:
    rng = np.random.default_rng(0)
    moved = [(next_weights(swinging(rng, 12), EVEN).weights != 1).any() for _ in range(400)]
    # 5 in 100, and three standard errors of 400 draws.
    assert np.mean(moved) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_kin_are_found_whatever_their_swing() -> None:
    rng = np.random.default_rng(1)
    found = [next_weights(swinging(rng, 20, kin=1.5), EVEN).weights for _ in range(50)]
    assert np.mean([(one[:3] > 1).all() and (one[3:] < 1).all() for one in found]) > 0.9
    assert max(one.max() for one in found) <= MOST
    assert min(one.min() for one in found) >= 1 / MOST


def test_weights_are_as_the_formula_says() -> None:
    rng = np.random.default_rng(2)
    effects = swinging(rng, 7, kin=3.0)
    shares = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    c = []
    for one in effects:
        d = one - sum(q * e for q, e in zip(shares, one, strict=True))
        c.append(d / np.sqrt(np.mean(d**2)))
    mean = np.mean(c, axis=0)
    by_chance = [
        np.sum(np.mean([s * one for s, one in zip(signs, c, strict=True)], axis=0) ** 2)
        for signs in product((1, -1), repeat=7)
    ]
    kept = 1 - np.quantile(by_chance, 0.95) / np.sum(mean**2)
    found = next_weights(effects, shares)
    assert found.kept == pytest.approx(kept, rel=0.02)  # half of the signs say the same twice
    z = mean / np.sqrt(np.mean(mean**2))
    assert found.weights == pytest.approx(
        np.clip(FACTOR ** (np.sqrt(found.kept) * z), 1 / MOST, MOST)
    )
    assert found.chance == pytest.approx(np.mean(np.array(by_chance) >= np.sum(mean**2) - 1e-12))


def test_the_size_of_a_checkpoints_effects_is_nothing_to_them() -> None:
    rng = np.random.default_rng(3)
    effects = swinging(rng, 20, kin=1.5)
    larger = effects * 10.0 ** rng.uniform(-3, 3, (20, 1))
    assert next_weights(larger, EVEN).weights == pytest.approx(next_weights(effects, EVEN).weights)


def test_checkpoints_that_say_nothing_change_nothing() -> None:
    flat = np.full((10, 8), 0.2)
    assert (next_weights(flat, EVEN).weights == 1).all()
    assert next_weights(flat, EVEN).chance == 1
