"""How often meta steps run and what they read."""

from __future__ import annotations

import pytest

from adapt_axolotl.meta_step.schedule import LEAST_TASKS, SHARE, meta_schedule
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD

COMMON = {"rows_per_step": 64.0, "num_tasks": 20, "estimator": IN_BACKWARD, "look_ahead": False}


@pytest.mark.parametrize("num_tasks", [2, 4, 20, 64, 256, 1000])
@pytest.mark.parametrize("estimator", [IN_BACKWARD, FINITE_DIFFERENCE])
def test_the_default_costs_the_same_share_whatever_the_number_of_tasks(
    num_tasks: int, estimator: Estimator
) -> None:
    schedule = meta_schedule(
        steps=1000, **{**COMMON, "num_tasks": num_tasks, "estimator": estimator}
    )
    assert schedule.share <= SHARE * 1.001
    assert 2 <= schedule.rows_per_task <= 4
    assert min(num_tasks, LEAST_TASKS) <= schedule.tasks_at_once <= num_tasks


def test_few_tasks_are_all_read_with_more_rows_each() -> None:
    schedule = meta_schedule(steps=1000, **{**COMMON, "num_tasks": 5})
    assert (schedule.rows_per_task, schedule.tasks_at_once) == (4, 5)


def test_long_runs_have_about_a_hundred_meta_steps() -> None:
    assert meta_schedule(steps=10_000, **COMMON).update_every == 100
    assert meta_schedule(steps=300, **COMMON).update_every == 25


def test_what_the_recipe_gives_is_kept_and_its_cost_is_told() -> None:
    schedule = meta_schedule(steps=1000, update_every=10, rows_per_task=4, **COMMON)
    assert (schedule.update_every, schedule.rows_per_task, schedule.tasks_at_once) == (10, 4, 20)
    assert schedule.share == pytest.approx((0.35 + 80 / 64) / 10)


def test_a_trial_step_reads_all_tasks() -> None:
    schedule = meta_schedule(steps=1000, **{**COMMON, "look_ahead": True, "num_tasks": 100})
    assert schedule.tasks_at_once == 100
