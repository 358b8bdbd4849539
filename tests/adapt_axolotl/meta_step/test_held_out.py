"""Validation rows of tasks whose training rows have all been seen."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.held_out import LEAST_ROWS, MOST_ROWS, SHARE, HeldOut, chosen_rows
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learning_curves import GROWTH, MOMENTS
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model


def make_pools(tasks: int, rows: int) -> TaskPools:
    count = tasks * rows
    tokens = np.full(count, 10)
    names = tuple(f"task_{number}" for number in range(tasks))
    return TaskPools(names, np.arange(count) % tasks, tokens, tokens + 5)


def test_a_task_has_the_same_rows_whatever_others_are_measured_and_more_as_there_is_time() -> None:
    pools = make_pools(3, 40)
    first, both = np.array([True, False, False]), np.array([True, True, False])
    few, many = (set(chosen_rows(pools, first, trained, 0).tolist()) for trained in (3_000.0, 1e6))
    assert LEAST_ROWS <= len(few) < MOST_ROWS == len(many)
    assert few < many
    together = chosen_rows(pools, both, 1e6, 0)
    assert set(together[pools.task_of_row[together] == 0].tolist()) == many
    assert (np.diff(together) > 0).all()
    assert set(chosen_rows(pools, first, 1e6, 1).tolist()) != many


@pytest.mark.parametrize("tasks", [2, 20, 1000])
@pytest.mark.parametrize("trained", [1e4, 1e5, 1e6])
def test_they_take_a_small_share_of_the_training_whatever_the_number_of_tasks(
    tasks: int, trained: float
) -> None:
    pools = make_pools(tasks, 20)
    chosen = chosen_rows(pools, np.ones(tasks, dtype=bool), trained, 0)
    since_the_last = trained * (1 - 1 / GROWTH)
    # A forward is a third of a training step.
    assert pools.supervised_tokens[chosen].sum() / 3 <= SHARE * since_the_last
    assert len(chosen) in (0, *(tasks * rows for rows in range(LEAST_ROWS, MOST_ROWS + 1)))


def test_without_such_tasks_nothing_is_read() -> None:
    assert chosen_rows(make_pools(3, 40), np.zeros(3, dtype=bool), 1e6, 0).tolist() == []


def test_their_moments_are_those_of_a_forward() -> None:
    model, rows = make_model("llama"), make_measuring_rows(2)
    held_out = HeldOut(model, rows, rows._pools, Ranks(), lambda: evaluation_mode(model), 0)
    tasks = np.array([True, False, True])
    found = held_out.moments(tasks, 1e6)
    assert found[MOMENTS.index("1")].tolist() == [10, 0, 10]
    chosen = chosen_rows(rows._pools, tasks, 1e6, 0)
    sums = np.zeros(len(TASKS))
    for batch in rows.batches(chosen):
        losses, _ = row_losses(model, batch)
        np.add.at(sums, batch.task_of_row.numpy(), losses.detach().numpy())
    assert found[MOMENTS.index("s")] == pytest.approx(sums, rel=1e-5)
    assert held_out.tokens(tasks, 1e6) == found[MOMENTS.index("w")].sum()
