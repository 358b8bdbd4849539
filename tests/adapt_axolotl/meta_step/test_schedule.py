"""How often meta steps run and what they read."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.config.learned import OVERHEAD
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.schedule import (
    LEAST_FALLS,
    LEAST_PRODUCTS,
    LEAST_ROWS,
    LEAST_TASKS,
    MOST_FALLS,
    MOST_READ,
    MOST_ROWS,
    fall_row_cost,
    fall_schedule,
    meta_schedule,
)
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD

COMMON = {
    "rows_per_step": 64.0,
    "num_tasks": 20,
    "estimator": IN_BACKWARD,
    "look_ahead": False,
    "overhead": OVERHEAD,
}


@pytest.mark.parametrize("num_tasks", [2, 4, 20, 64, 256, 1000])
@pytest.mark.parametrize("estimator", [IN_BACKWARD, FINITE_DIFFERENCE])
def test_the_default_costs_the_same_share_whatever_the_number_of_tasks(
    num_tasks: int, estimator: Estimator
) -> None:
    schedule = meta_schedule(
        steps=1000, **{**COMMON, "num_tasks": num_tasks, "estimator": estimator}
    )
    assert schedule.share <= OVERHEAD * 1.001
    assert schedule.share >= 0.8 * OVERHEAD
    assert LEAST_ROWS <= schedule.rows_per_task <= MOST_ROWS
    assert min(num_tasks, LEAST_TASKS) <= schedule.tasks_at_once <= num_tasks


@pytest.mark.parametrize("rows_per_step", [2.0, 4.0, 8.0, 25.0])
@pytest.mark.parametrize("steps", [200, 1000, 10_000])
@pytest.mark.parametrize("num_tasks", [2, 20, 200])
def test_the_share_holds_at_few_rows_a_step_and_is_used_in_long_runs(
    rows_per_step: float, steps: int, num_tasks: int
) -> None:
    changes = {"num_tasks": num_tasks, "rows_per_step": rows_per_step}
    products = meta_schedule(steps=steps, **{**COMMON, **changes})
    assert 0.8 * OVERHEAD <= products.share <= OVERHEAD * 1.001
    cost = num_tasks / rows_per_step / 3
    falls = fall_schedule(steps=steps, overhead=0.04, start_after=0.06, row_cost=cost)
    assert falls.share <= 0.04 * 1.001
    assert len(falls.steps) == 0 or LEAST_FALLS <= len(falls.steps) <= MOST_FALLS


def test_falls_are_measured_over_most_of_the_run_with_the_rows_that_the_share_allows() -> None:
    common = {"row_cost": 20 / 25 / 3, "start_after": 0.06}
    few = fall_schedule(steps=1000, overhead=0.02, **common)
    many = fall_schedule(steps=1000, overhead=0.08, **common)
    assert few.steps == many.steps
    assert (few.steps[0], few.steps[-1]) == (60, 700)
    assert many.rows_per_task > 3 * few.rows_per_task
    assert many.share == pytest.approx(0.08, rel=0.1)


def test_a_share_too_small_for_the_tasks_measures_nothing() -> None:
    schedule = fall_schedule(steps=1000, overhead=0.04, start_after=0.06, row_cost=1000 / 25 / 3)
    assert schedule.steps == ()
    assert schedule.share == 0


def test_falls_follow_the_recipe() -> None:
    schedule = fall_schedule(
        steps=100,
        overhead=0.04,
        start_after=0.1,
        row_cost=20 / 25 / 3,
        update_every=30,
        rows_per_task=5,
    )
    assert schedule.steps == (10, 40, 70)
    assert schedule.rows_per_task == 5


def test_what_the_recipe_gives_is_kept_and_its_cost_is_told() -> None:
    schedule = meta_schedule(steps=1000, update_every=10, rows_per_task=4, **COMMON)
    assert (schedule.update_every, schedule.rows_per_task, schedule.tasks_at_once) == (10, 4, 20)
    assert schedule.share == pytest.approx((0.35 + 80 / 64) / 10)


@pytest.mark.parametrize("rows_per_step", [8.0, 25.0, 64.0])
def test_half_of_what_a_meta_step_may_cost_reads_training_steps(rows_per_step: float) -> None:
    """And half its validation rows, of one target or of all tasks."""
    for num_tasks in (1, 20):
        changes = {"num_tasks": num_tasks, "rows_per_step": rows_per_step}
        schedule = meta_schedule(steps=700, **{**COMMON, **changes})
        cost = schedule.share * schedule.update_every
        assert 1 <= schedule.read_steps <= MOST_READ
        assert abs(schedule.read_steps * IN_BACKWARD.cost - cost / 2) <= IN_BACKWARD.cost + 0.1
        assert 700 / schedule.update_every >= 0.8 * LEAST_PRODUCTS


def test_steps_are_read_by_the_estimator_that_can_and_not_behind_a_trial_step() -> None:
    for changes in ({"estimator": FINITE_DIFFERENCE}, {"look_ahead": True}):
        assert meta_schedule(steps=10_000, **{**COMMON, **changes}).read_steps == 1
    assert meta_schedule(steps=10_000, **COMMON).read_steps > 4


def test_a_trial_step_reads_all_tasks() -> None:
    schedule = meta_schedule(steps=1000, **{**COMMON, "look_ahead": True, "num_tasks": 100})
    assert schedule.tasks_at_once == 100


def test_a_row_of_each_task_costs_a_forward_of_its_tokens_or_its_part_of_the_budget() -> None:
    pools = TaskPools(("a", "b"), np.array([0, 0, 1]), np.array([2, 4, 9]), np.array([10, 20, 90]))
    free = fall_row_cost(pools, step_tokens=1000.0, step_supervised=None)
    assert free == pytest.approx((15 + 90) / 1000 / 3)
    charged = fall_row_cost(pools, step_tokens=1000.0, step_supervised=100.0)
    assert charged == pytest.approx((3 + 9) / 100)
