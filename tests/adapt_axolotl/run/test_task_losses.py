"""Training losses by task, as they are logged."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.run.task_losses import TaskLosses


def test_a_tasks_loss_is_the_mean_over_its_tokens_since_the_last_time() -> None:
    losses = TaskLosses(("a", "b", "c"), lambda sums: sums)
    losses.add(np.array([0, 1, 0]), np.array([4.0, 9.0, 2.0]), np.array([1, 3, 2]))
    losses.add(np.array([1]), np.array([1.0]), np.array([2]))
    assert losses.means() == pytest.approx({"a": 2.0, "b": 2.0})  # c had no rows
    assert losses.means() == {}
    losses.add(np.array([2]), np.array([3.0]), np.array([4]))
    assert losses.means() == {"c": 0.75}


def test_the_rows_of_all_processes_count() -> None:
    others = np.array([[6.0, 0.0], [2.0, 0.0]])
    losses = TaskLosses(("a", "b"), lambda sums: sums + others)
    losses.add(np.array([0]), np.array([2.0]), np.array([2]))
    assert losses.means() == {"a": 2.0}
