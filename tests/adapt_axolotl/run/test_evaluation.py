"""Metrics over all tasks, by which the best checkpoint is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.bounds import MOST, Bounds
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.run.evaluation import Evaluation

TASKS = ("a", "b", "c")
FIRST = np.array([4.0, 2.0, 1.0])


def make(weights: tuple[float, ...] = (1, 1, 1)) -> Evaluation:
    return Evaluation(TASKS, np.array(weights), objective("relative"))


def measured(*losses: float) -> dict[str, float]:
    return {f"eval_{task}_loss": loss for task, loss in zip(TASKS, losses, strict=True)}


def test_the_loss_is_the_mean_over_tasks_by_the_given_weights() -> None:
    assert make().metrics(measured(3.0, 1.0, 2.0), FIRST)["eval_loss"] == pytest.approx(2.0)
    weighted = make((2, 1, 1)).metrics(measured(3.0, 1.0, 2.0), FIRST)
    assert weighted["eval_loss"] == pytest.approx(9 / 4)
    assert weighted["eval_worst_loss"] == 3.0


def test_the_objective_is_its_definition() -> None:
    found = make().metrics(measured(3.0, 1.0, 0.9), FIRST)["eval_objective"]
    utilities = np.array([3 / 4, 1 / 2, 0.9])
    assert found == pytest.approx(np.log(np.exp(4 * utilities).mean()) / 4, rel=1e-12)


def test_the_objective_is_over_the_targets_where_there_are_any() -> None:
    over = Evaluation(TASKS, np.ones(3), objective("relative", targets=[True, False, False]))
    found = over.metrics(measured(3.0, 1.0, 0.9), FIRST)
    assert found["eval_objective"] == pytest.approx(3 / 4, rel=1e-12)
    assert found["eval_loss"] == pytest.approx(4.9 / 3)


def test_a_checkpoint_that_breaks_a_bound_looks_worse_by_what_exceeds_it() -> None:
    targets = [True, True, False]
    bounded = Evaluation(
        TASKS,
        np.ones(3),
        objective("mean", targets=targets),
        Bounds([float("nan"), float("nan"), 0.8]),
    )
    kept = bounded.metrics(measured(3.0, 1.0, 0.7), FIRST)["eval_objective"]
    broken = bounded.metrics(measured(3.0, 1.0, 1.2), FIRST)["eval_objective"]
    assert kept == pytest.approx(2.0)
    assert broken == pytest.approx(2.0 + MOST * 0.5)


def test_a_task_without_a_loss_is_left_out() -> None:
    found = make().metrics({"eval_a_loss": 3.0, "eval_b_loss": float("nan")}, FIRST)
    assert found["eval_loss"] == found["eval_worst_loss"] == 3.0
    assert found["eval_objective"] == pytest.approx(3 / 4)
    nothing = make().metrics({}, None)
    assert all(np.isnan(value) for value in nothing.values())
