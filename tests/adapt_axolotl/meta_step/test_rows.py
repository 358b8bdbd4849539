"""Rows that are measured and not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import tasks_in_turn


@pytest.mark.parametrize(("num_tasks", "at_once"), [(7, 3), (6, 3), (5, 5), (1, 4), (256, 10)])
def test_every_task_has_its_turn_once_a_round(num_tasks: int, at_once: int) -> None:
    turns = -(-num_tasks // at_once)
    for round_ in range(3):
        seen = [
            tasks_in_turn(
                num_tasks,
                at_once,
                round_ * turns + turn,
                seed=1,
                stream=RandomStream.META_VALIDATION_ROWS,
            )
            for turn in range(turns)
        ]
        assert all(len(tasks) <= at_once for tasks in seen)
        assert max(map(len, seen)) - min(map(len, seen)) <= 1
        assert sorted(np.concatenate(seen)) == list(range(num_tasks))


def test_turns_change_with_round_seed_and_stream() -> None:
    def order(first_turn: int, **keys: int) -> list[int]:
        turns = range(first_turn, first_turn + 8)
        return [int(t) for n in turns for t in tasks_in_turn(32, 4, n, **{**BASE, **keys})]

    BASE = {"seed": 1, "stream": RandomStream.META_VALIDATION_ROWS}
    assert order(0) == order(0)
    assert order(0) != order(8)
    assert order(0) != order(0, seed=2)
    assert order(0) != order(0, stream=RandomStream.META_TRAINING_ROWS)
