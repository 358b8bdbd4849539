"""Falls of losses from the rows that training sees, against a literal fit and simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.learning_curves import (
    GROWTH,
    LEAST_INTERVALS,
    WINDOW,
    Falls,
    LearningCurves,
    row_moments,
)
from adapt_axolotl.mixture.objectives.named import objective

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # trained, tasks, sums, tokens


def simulated(
    falls: np.ndarray,
    seed: int,
    *,
    steps: int = 400,
    rows: int = 17,
    spread: float = 0.5,
    start: float = 4000,
) -> tuple[LearningCurves, list[Step]]:
    """Steps of rows of random tasks with V_k = 12 - f_k log n_k; also the rows, step by step."""
    rng = np.random.default_rng(seed)
    count = len(falls)
    curves = LearningCurves(count)
    seen = []
    trained = np.full(count, start / count)
    for _ in range(20, steps):
        tasks = rng.integers(count, size=rows)
        tokens = rng.integers(3, 20, size=rows)
        means = 12 - falls[tasks] * np.log(trained[tasks]) + spread * rng.normal(size=rows)
        curves.add(trained, row_moments(tasks, means * tokens, tokens, count))
        seen.append((trained, tasks, means * tokens, tokens))
        trained = trained + np.bincount(tasks, weights=tokens, minlength=count)
    return curves, seen


def fitted(curves: LearningCurves) -> Falls:
    found = curves.fit()
    assert found is not None
    return found


def test_the_lines_are_those_of_a_literal_least_squares_over_intervals() -> None:
    """Row by row, with numpy's own fit: 1e-9 relative."""
    falls = np.array([0.2, 0.5, 0.8])
    curves, seen = simulated(falls, 0)
    intervals: list[list[tuple]] = []
    begin = 0.0
    for step in seen:
        if not intervals or step[0].sum() >= GROWTH * begin:
            begin = step[0].sum()
            intervals.append([])
        intervals[-1].append(step)
    begins = [interval[0][0].sum() for interval in intervals]
    inside = [
        one for one, at in zip(intervals, begins, strict=True) if at * WINDOW * GROWTH >= begins[-1]
    ]
    found = fitted(curves)
    for k in range(3):
        x, means, rows, totals, squares, count = [], [], [], [], 0.0, 0
        for interval in inside:
            s = np.concatenate([sums[tasks == k] for _, tasks, sums, _ in interval])
            w = np.concatenate([tokens[tasks == k] for _, tasks, _, tokens in interval])
            logs = [
                np.log(n[k]) * (tokens * (tasks == k)).sum() for n, tasks, _, tokens in interval
            ]
            x.append(np.sum(logs) / w.sum())
            means.append(s.sum() / w.sum())
            rows.append(len(s))
            totals.append(w.sum())
            squares += float(((s - means[-1] * w) ** 2).sum())
            count += len(s)
        # Whatever the variance of rows is, it is one for all intervals: the slope does not see it.
        variance = squares / (count - len(inside))
        deviation = np.sqrt(np.array(rows) * variance) / np.array(totals)
        (slope, at_zero), covariance = np.polyfit(x, means, 1, w=1 / deviation, cov="unscaled")
        assert found.falls[k] == pytest.approx(-slope, rel=1e-9)
        assert found.levels[k] == pytest.approx(at_zero + slope * x[-1], rel=1e-9)
        # Beside some 100 rows of its own the typical ones and the scale matter little.
        assert found.errors[k] == pytest.approx(np.sqrt(covariance[0, 0]), rel=0.3)


def test_the_errors_are_those_of_the_falls() -> None:
    """Over 150 runs the falls miss the true ones by their errors: a standard deviation of 1."""
    falls = np.linspace(0.1, 1.0, 5)
    missed = []
    for seed in range(150):
        found = fitted(simulated(falls, seed, steps=150)[0])
        missed.append((found.falls - falls) / found.errors)
    assert np.std(missed) == pytest.approx(1, abs=0.1)
    assert np.abs(np.mean(missed, axis=0)).max() < 0.3


def test_a_wobble_that_rows_do_not_explain_makes_errors_larger() -> None:
    falls = np.full(4, 0.5)
    calm = fitted(simulated(falls, 0)[0])
    rng = np.random.default_rng(1)
    curves = LearningCurves(4)
    _, seen = simulated(falls, 0)
    begin, lift = 0.0, np.zeros(4)
    for trained, tasks, sums, tokens in seen:
        if trained.sum() >= GROWTH * begin:
            begin, lift = trained.sum(), rng.normal(size=4) * 0.3
        curves.add(trained, row_moments(tasks, sums + lift[tasks] * tokens, tokens, 4))
    assert (fitted(curves).errors > 2 * calm.errors).all()


def test_only_the_last_part_of_a_run_counts() -> None:
    """A task that falls early and no more has a fall of 0 at the end."""
    curves, _ = simulated(np.array([0.5, 0.5]), 0, steps=300)
    rng = np.random.default_rng(1)
    for step in range(300, 1200):
        tasks, tokens = np.array([0, 1] * 8), np.full(16, 10)
        means = 2 + 0.1 * rng.normal(size=16)
        means[tasks == 1] -= 0.5 * np.log(step / 300)
        curves.add(np.full(2, 80.0 * step), row_moments(tasks, means * tokens, tokens, 2))
    found = fitted(curves)
    assert found.falls[0] == pytest.approx(0, abs=4 * found.errors[0])
    assert found.falls[1] == pytest.approx(0.5, abs=4 * found.errors[1])


def test_a_task_that_is_all_but_solved_has_no_more_to_fall_than_its_loss() -> None:
    """However fast it fell: from 3 to 0.003, beside one that goes on slowly."""
    rng = np.random.default_rng(0)
    curves, trained = LearningCurves(2), np.array([2000.0, 2000.0])
    for _ in range(300):
        tasks, tokens = np.array([0, 1] * 8), np.full(16, 10)
        values = np.array([3 * (trained[0] / 2000) ** -3.0, 3 * (trained[1] / 2000) ** -0.1])
        means = values[tasks] * (1 + 0.2 * rng.normal(size=16))
        curves.add(trained, row_moments(tasks, means * tokens, tokens, 2))
        trained = trained + 80
    found = fitted(curves)
    assert 0 <= found.falls[0] == found.levels[0] < 0.02
    assert 0.15 < found.falls[1] < found.levels[1]
    assert found.errors[0] <= found.falls[0]


def test_a_task_without_new_rows_keeps_its_line_for_a_while_and_is_unknown_then() -> None:
    curves, seen = simulated(np.array([0.7, 0.2]), 0, steps=200)
    rng = np.random.default_rng(1)
    trained = seen[-1][0]
    begin = trained.sum()
    known = []
    for step in range(4000):
        tokens = np.full(4, 10)
        sums = (12 - 0.2 * np.log(trained[1]) + 0.3 * rng.normal(size=4)) * tokens
        curves.add(trained, row_moments(np.ones(4, dtype=int), sums, tokens, 2))
        trained = trained + np.array([0.0, 40.0])
        if step % 50 == 0:
            found = fitted(curves)
            assert np.isfinite(found.falls[1])
            known.append((trained.sum() / begin, bool(np.isfinite(found.falls[0]))))
    # Until fewer than four of its intervals are among those of the last threefold.
    last = max(growth for growth, there in known if there)
    assert WINDOW / GROWTH**6 < last < WINDOW / GROWTH**2
    assert all(there == (growth <= last) for growth, there in known)


def test_nothing_is_said_before_there_are_enough_intervals_and_rows() -> None:
    curves = LearningCurves(2)
    for number in range(LEAST_INTERVALS):
        assert curves.fit() is None
        tokens = 100 * GROWTH ** (number * 1.01)
        trained = np.array([tokens, 0.0])
        curves.add(trained, row_moments(np.zeros(3, int), np.arange(3.0), np.full(3, 2), 2))
    found = fitted(curves)
    assert np.isfinite(found.falls[0])
    assert np.isnan(found.falls[1])  # no rows


def test_its_state_comes_back_to_the_bit_and_does_not_grow_with_the_run() -> None:
    falls = np.array([0.2, 0.5, 0.8])
    curves, _ = simulated(falls, 0, steps=20_000, rows=2)
    state = json.loads(json.dumps(curves.state_dict()))
    assert len(state["begins"]) <= 2 + np.log(WINDOW * GROWTH) / np.log(GROWTH)
    again = LearningCurves(3)
    again.load_state_dict(state)
    for one in (curves, again):
        one.add(np.full(3, 200_000.0), row_moments(np.arange(3), np.ones(3), np.ones(3), 3))
    assert (fitted(again).falls == fitted(curves).falls).all()
    assert again.state_dict() == curves.state_dict()


def test_a_task_whose_rows_are_alike_by_chance_is_not_believed_more_than_typical_ones() -> None:
    """Two dozen rows that hardly differ, beside hundreds that do: their error would be near 0."""
    _, seen = simulated(np.full(3, 0.5), 0)
    own = LearningCurves(4)
    steps = np.linspace(0, len(seen) - 1, 24).astype(int).tolist()
    for number, (trained, tasks, sums, tokens) in enumerate(seen):
        mine = steps.count(number)
        tasks = np.append(tasks, np.full(mine, 3))
        sums = np.append(sums, np.full(mine, 30.0 + 1e-6 * number))
        tokens = np.append(tokens, np.full(mine, 10))
        own.add(np.append(trained, trained[0]), row_moments(tasks, sums, tokens, 4))
    errors = fitted(own).errors
    assert errors[3] > errors[:3].max()


def test_a_share_that_moved_does_not_change_what_its_task_is_found_to_fall_by() -> None:
    """A share goes from .5 to .9: over all tokens its task would fall faster, the other slower."""
    rng = np.random.default_rng(0)
    curves, trained = LearningCurves(2), np.array([2000.0, 2000.0])
    for step in range(400):
        share = 0.5 if step < 150 else 0.9
        tasks = (rng.random(16) > share).astype(int)
        tokens = np.full(16, 10)
        means = 12 - 0.5 * np.log(trained[tasks]) + 0.1 * rng.normal(size=16)
        curves.add(trained, row_moments(tasks, means * tokens, tokens, 2))
        trained = trained + np.bincount(tasks, weights=tokens, minlength=2)
    found = fitted(curves)
    assert (np.abs(found.falls - 0.5) < 4 * found.errors).all()
    assert found.errors[0] < 0.03


def learned(falls: np.ndarray, seed: int, steps: int = 700) -> np.ndarray:
    """The last shares of a run that learns from such curves whenever an interval has ended."""
    count = len(falls)
    mixture = LearnedMixture([str(k) for k in range(count)], objective("mean"), floor=0.0)
    mixture.observe(np.ones(count))
    curves = LearningCurves(count)
    _, seen = simulated(falls, seed, steps=steps)
    for step, (trained, tasks, sums, tokens) in enumerate(seen):
        if curves.ends(float(trained.sum())) and (fit := curves.fit()) is not None:
            mixture.update_by_falls(fit.falls, fit.errors, step=step, freedom=fit.freedom)
        curves.add(trained, row_moments(tasks, sums, tokens, count))
    return mixture.proportions


def test_tasks_that_are_alike_stay_at_uniform_shares() -> None:
    """In 9 of 10 runs the extremes end within 5 % of uniform; looked at some 20 times a run."""
    far = [np.abs(20 * learned(np.full(20, 0.7), seed) - 1).max() for seed in range(20)]
    assert np.quantile(far, 0.9) < 0.05


def test_what_one_seed_learns_another_finds_again() -> None:
    falls = 0.7 + 0.25 * np.random.default_rng(0).normal(size=20)
    shares = [np.log(learned(falls, seed)) for seed in (1, 2)]
    assert np.corrcoef(*shares)[0, 1] > 0.8
    assert np.corrcoef(shares[0], falls)[0, 1] > 0.8
