"""Bounds on losses: multipliers rise while they are not kept, and the losses end at them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from adapt_axolotl.mixture.bounds import MOST, RATE, Bounds, at_the_end
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective

NONE = float("nan")
FIRST = np.array([3.0, 2.0, 2.5])
EVERY = np.ones(3, dtype=bool)


def make(bounds: list[float], name: str = "worst_case", **changes: Any) -> LearnedMixture:
    names = [f"task_{k}" for k in range(len(bounds))]
    over = [not np.isfinite(bound) for bound in bounds]
    chosen = objective(name, targets=over)
    return LearnedMixture(names, chosen, bounds=Bounds(bounds), **changes)


def test_a_multiplier_rises_above_its_bound_and_falls_below_it() -> None:
    bounds = Bounds([2.0, NONE])
    for loss, wanted in ((2.2, 0.1 * RATE), (2.1, 0.15 * RATE), (1.8, 0.05 * RATE), (1.0, 0.0)):
        bounds.ascend(np.array([loss, 9.0]), np.ones(2, dtype=bool))
        assert bounds.multipliers[0] == pytest.approx(wanted)
    assert np.isnan(bounds.multipliers[1])
    bounds.ascend(np.array([90.0, 9.0]), np.array([False, True]))
    assert bounds.multipliers[0] == 0
    bounds.ascend(np.array([90.0, 9.0]), np.ones(2, dtype=bool))
    assert bounds.multipliers[0] == MOST


def test_the_weights_are_the_derivative_of_the_lagrangian() -> None:
    """Of f(V) + sum_k mu_k (V_k / b_k - 1), by central differences in float64."""
    mixture = make([1.5, NONE, NONE], "alpha_fair")
    mixture.observe(FIRST)
    losses = np.array([2.0, 1.5, 1.0])
    weights = mixture.observe(losses)
    bounds = mixture.losses.bounds
    assert bounds is not None
    mu = bounds.multipliers[0]
    assert mu > 0
    over = objective("alpha_fair")

    def lagrangian(values: np.ndarray) -> float:
        return over.value(values[1:], FIRST[1:]) + mu * (values[0] / 1.5 - 1)

    steps = 1e-5 * np.eye(3)
    found = [(lagrangian(losses + step) - lagrangian(losses - step)) / 2e-5 for step in steps]
    assert weights == pytest.approx(found, rel=1e-6)


def test_the_first_losses_move_no_multiplier_and_a_kept_bound_has_no_weight() -> None:
    mixture = make([1.0, NONE, NONE])
    assert mixture.observe(FIRST)[0] == 0
    assert mixture.observe(np.array([0.9, 1.0, 1.0]))[0] == 0
    assert mixture.observe(np.array([1.1, 1.0, 1.0]))[0] > 0
    assert mixture.observe(np.array([np.nan, 1.0, 1.0]))[0] == 0  # left out, its multiplier stays
    assert mixture.losses.bounds is not None
    assert mixture.losses.bounds.multipliers[0] > 0


def test_what_is_expected_at_the_end_counts_where_it_is_known() -> None:
    mixture = make([1.0, NONE, NONE])
    mixture.observe(FIRST)
    mixture.observe(np.array([1.5, 1.0, 1.0]), EVERY, np.array([0.8, 1.0, 1.0]))
    assert mixture.losses.bounds is not None
    assert mixture.losses.bounds.multipliers[0] == 0


def test_the_end_is_that_of_a_line_over_the_tasks_own_tokens() -> None:
    trained = np.array([100.0, 400.0])
    levels, falls, shares = np.array([2.0, 1.0]), np.array([0.5, 0.2]), np.array([0.25, 0.75])
    end = at_the_end(levels, falls, trained, shares, 1000.0)
    assert end == pytest.approx([2 - 0.5 * np.log(350 / 100), 1 - 0.2 * np.log(1150 / 400)])


def test_a_bounded_task_keeps_its_share_until_its_loss_is_known() -> None:
    mixture = make([1.5, NONE, NONE], "mean")
    mixture.observe(FIRST)
    unknown = np.array([False, True, True])
    for step in range(5):
        mixture.observe(np.array([NONE, 1.0, 1.0]), unknown)
        falls = np.array([NONE, 0.5, 0.01])
        mixture.update_by_falls(falls, np.full(3, 1e-3), step=step, freedom=50)
        assert mixture.proportions[0] == pytest.approx(1 / 3)
    assert mixture.proportions[1] > 1.5 * mixture.proportions[2]
    mixture.observe(np.array([0.5, 1.0, 1.0]))
    assert mixture.proportions[0] != pytest.approx(1 / 3, abs=1e-3)


def test_where_no_bounded_loss_is_known_and_targets_have_no_rows_nothing_moves() -> None:
    mixture = make([1.5, 1.5, NONE], "mean", initial=np.array([0.25, 0.75, 0.0]))
    mixture.observe(FIRST)
    assert mixture.proportions.tolist() == [0.25, 0.75, 0.0]


def test_a_restored_mixture_goes_on_with_its_multipliers() -> None:
    whole, part = make([1.5, NONE, NONE]), make([1.5, NONE, NONE])
    rng = np.random.default_rng(0)
    for step in range(8):
        losses, falls = 1 + rng.random(3), rng.random(3)
        for mixture in (whole, part):
            mixture.observe(losses)
            update = mixture.update_by_falls(falls, np.full(3, 0.01), step=step, freedom=20)
        if step == 3:
            state = json.loads(json.dumps(part.state_dict(), allow_nan=False))
            part = make([1.5, NONE, NONE])
            part.load_state_dict(state)
    assert part.state_dict() == whole.state_dict()
    assert update.multipliers[0] > 0
    assert np.isnan(update.multipliers[1:]).all()
    assert make([1.4, NONE, NONE]).fingerprint() != whole.fingerprint()


def learned(part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A run of six tasks by curves V = a - f log(1 + n / 300), two of them bounded at `part` of
    what they end with under uniform mixing: (V / b - 1 of the two, how far the others end above
    uniform mixing), known with some noise."""
    rng = np.random.default_rng(seed)
    count, budget = 6, 1e6
    starts, falls = 2 + rng.random(count), 0.15 + 0.2 * rng.random(count)

    def losses(trained: np.ndarray) -> np.ndarray:
        return starts - falls * np.log1p(trained / 300)

    uniform = losses(np.full(count, budget / count))
    bounds = [part * loss for loss in uniform[:2]] + [NONE] * 4
    mixture = make(bounds, "mean", entropy_weight=0.25)
    mixture.observe(starts)
    total = 0.105 * budget
    trained = np.full(count, total / count)
    while total < budget:
        now = losses(trained) * (1 + 0.02 * rng.normal(size=count))
        slopes = falls * (1 + 0.1 * rng.normal(size=count))
        end = at_the_end(now, slopes, trained, mixture.token_shares, budget - total)
        mixture.observe(now, np.ones(count, dtype=bool), end)
        mixture.update_by_falls(slopes, 0.1 * falls, step=0, freedom=50)
        step = min(0.15 * total, budget - total)
        trained, total = trained + mixture.proportions * step, total + step
    return losses(trained)[:2] / bounds[:2] - 1, losses(trained)[2:] - uniform[2:]


def test_losses_end_at_their_bounds_and_the_others_as_low_as_these_allow() -> None:
    runs = {part: [learned(part, seed) for seed in range(20)] for part in (0.9, 1.0, 1.1)}
    worst = {part: np.mean([over.max() for over, _ in found]) for part, found in runs.items()}
    others = {part: np.mean([above for _, above in found]) for part, found in runs.items()}
    assert worst[0.9] < 0.05
    assert abs(worst[1.0]) < 0.02
    assert abs(worst[1.1]) < 0.02
    assert others[1.0] < 0.01
    assert others[1.1] < -0.02 < others[1.0]


def test_a_bound_that_cannot_be_kept_leaves_the_others_something() -> None:
    mixture = make([1e-3, NONE, NONE], floor=0.0)
    mixture.observe(FIRST)
    for step in range(30):
        mixture.observe(FIRST)
        mixture.update_by_falls(np.ones(3), np.full(3, 1e-3), step=step, freedom=50)
    assert mixture.proportions[1:].min() > 0.01
