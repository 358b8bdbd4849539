"""Rows that are measured and not trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import MeasuringRows, tasks_in_turn
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.task_batch import TaskBatch
from tests.support.models import make_model


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


TOKENS = 40


def make_source(count: int) -> MeasuringRows:
    """Rows of 3 to 19 tokens, of three tasks; each begins with its own number."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(3, 20, size=count)
    rows = [[3 + n, *rng.integers(3, 60, size=length - 1)] for n, length in enumerate(lengths)]
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    pools = TaskPools(("a", "b", "c"), np.arange(count) % 3, lengths - 1, lengths)
    return MeasuringRows(
        data, pools, pad_token_id=2, micro_batch_tokens=TOKENS, device=torch.device("cpu")
    )


def rows_in(batch: TaskBatch) -> list[int]:
    return [int(row[0]) - 3 for row in batch.inputs["input_ids"][: len(batch.task_of_row)]]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 17, 26, 47])
def test_all_ranks_have_as_many_micro_batches_and_each_row_is_in_one(
    count: int, ranks: int
) -> None:
    source = make_source(count)
    parts = [source.batches(np.arange(count), rank=rank, ranks=ranks) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    seen = [row for part in parts for batch in part for row in rows_in(batch)]
    assert sorted(seen) == list(range(count))
    assert all(batch.labels.numel() <= TOKENS for part in parts for batch in part)
    # Only in the last one may a rank be without a row.
    assert all(len(batch.task_of_row) for part in parts for batch in part[:-1])


def test_short_rows_share_a_micro_batch_and_a_long_one_is_alone() -> None:
    lengths = np.array([41, 5, 20, 6, 19, 5])
    rows = [[3] * length for length in lengths]
    pools = TaskPools(("a",), np.zeros(6, dtype=np.int64), lengths - 1, lengths)
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    source = MeasuringRows(
        data, pools, pad_token_id=2, micro_batch_tokens=40, device=torch.device("cpu")
    )
    shapes = [tuple(batch.labels.shape) for batch in source.batches(np.arange(6))]
    assert shapes == [(3, 6), (2, 20), (1, 41)]
    assert source.batches(np.arange(0)) == []


@pytest.mark.parametrize("count", [1, 4, 17])
def test_losses_do_not_depend_on_the_number_of_ranks(count: int) -> None:
    model, source = make_model("llama"), make_source(count)

    def losses(ranks: int) -> np.ndarray:
        parts = [source.batches(np.arange(count), rank=rank, ranks=ranks) for rank in range(ranks)]
        return task_losses(model, [batch for part in parts for batch in part], 3).means.numpy()

    for ranks in (2, 3):
        assert losses(ranks) == pytest.approx(losses(1), rel=1e-6, nan_ok=True)
