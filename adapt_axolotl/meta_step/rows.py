"""Rows that are measured and not trained on: drawn per task, padded into micro-batches.

The draws are a function of (seed, stream, step) alone: they leave the training rows untouched and
need no state in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.metagradient.task_batch import TaskBatch


def tasks_in_turn(
    num_tasks: int, at_once: int, turn: int, *, seed: int, stream: RandomStream
) -> np.ndarray:
    """The tasks whose turn it is, ascending: at most `at_once`, all once in each round of
    ceil(K / at_once) turns of like length, in an order that is drawn anew for each round."""
    turns = turns_of_a_round(num_tasks, at_once)
    order = stream.generator(seed, turn // turns, 1).permutation(num_tasks)
    return np.sort(np.array_split(order, turns)[turn % turns])


def turns_of_a_round(num_tasks: int, at_once: int) -> int:
    """In how many turns all tasks are read once."""
    return -(-num_tasks // at_once)


class MeasuringRows:
    """Draws and collates rows of one split.

    Args:
        rows: tokenised rows, indexable by a list of row numbers into columns (`datasets.Dataset`).
        pools: the same rows as index arrays.
        pad_token_id: fills the input ids beside short rows.
        micro_batch_tokens: most tokens of a measuring micro-batch, padding included; one row in any
            case.
        device: where batches go.
    """

    def __init__(
        self,
        rows: Any,
        pools: TaskPools,
        *,
        pad_token_id: int,
        micro_batch_tokens: int,
        device: torch.device,
    ) -> None:
        self._rows = rows
        self._pools = pools
        self._pad_token_id = pad_token_id
        self._micro_batch_tokens = micro_batch_tokens
        self._device = device

    def draw(
        self,
        tasks: Sequence[int],
        rows_per_task: int,
        *,
        seed: int,
        stream: RandomStream,
        step: int,
    ) -> np.ndarray:
        """Row numbers, `rows_per_task` of each of these tasks without repeats, or its whole pool
        if that is smaller."""
        rng = stream.generator(seed, step)
        chosen = []
        for task in tasks:
            rows = self._pools.rows(task)
            chosen.append(rng.choice(rows, size=min(rows_per_task, len(rows)), replace=False))
        return np.concatenate(chosen)

    def sample(self, rows_per_task: int, *, seed: int) -> np.ndarray:
        """So many rows of every task, or its whole pool if that is smaller; the same for a seed."""
        tasks = range(len(self._pools.tasks))
        return self.draw(tasks, rows_per_task, seed=seed, stream=RandomStream.MEASURED_ROWS, step=0)

    def tokens(self, rows: np.ndarray) -> int:
        """Supervised tokens in these rows."""
        return int(self._pools.supervised_tokens[rows].sum())

    def tasks(self, rows: np.ndarray) -> np.ndarray:
        """The task of each of these rows."""
        return self._pools.task_of_row[rows]

    def batches(self, rows: np.ndarray, *, rank: int = 0, ranks: int = 1) -> list[TaskBatch]:
        """This rank's part of the rows as micro-batches, rows of like length together.

        All ranks get the same number: with sharded parameters (FSDP) a forward on one of them needs
        all the others. A rank without a row in the last micro-batch gets one that counts nothing.
        """
        return [self.batch(part) for part in self.parts(rows, rank=rank, ranks=ranks)]

    def parts(self, rows: np.ndarray, *, rank: int = 0, ranks: int = 1) -> list[np.ndarray]:
        """The row numbers of `batches`; empty for a batch of no rows."""
        return [group[rank::ranks] for group in self._groups(rows, ranks)]

    def batch(self, part: np.ndarray) -> TaskBatch:
        """One micro-batch of these rows."""
        return self._collate(part) if len(part) else self._nothing()

    def _groups(self, rows: np.ndarray, ranks: int) -> list[np.ndarray]:
        """The rows of each micro-batch, all ranks together: from the shortest row on, as many as
        fit when each rank takes every `ranks`-th."""
        rows = rows[np.argsort(self._pools.lengths[rows], kind="stable")]
        groups, start = [], 0
        for end in range(1, len(rows) + 1):
            # With one more row, which is the longest; a rank has one row in any case.
            rows_of_a_rank = (end - start) // ranks + 1
            if end == len(rows) or (
                rows_of_a_rank > 1
                and rows_of_a_rank * self._pools.lengths[rows[end]] > self._micro_batch_tokens
            ):
                groups.append(rows[start:end])
                start = end
        return groups

    def _nothing(self) -> TaskBatch:
        """A batch of one token for the forward, and of no rows."""
        return TaskBatch(
            inputs={
                "input_ids": torch.full((1, 1), self._pad_token_id),
                "attention_mask": torch.ones(1, 1, dtype=torch.int64),
            },
            labels=torch.full((1, 1), -100),
            row_of_token=torch.full((1, 1), -1),
            task_of_row=torch.zeros(0, dtype=torch.int64),
        ).to(self._device)

    def _collate(self, rows: Sequence[int] | np.ndarray) -> TaskBatch:
        columns = self._rows[[int(row) for row in rows]]

        def padded(column: str, fill: int) -> torch.Tensor:
            tensors = [torch.as_tensor(values, dtype=torch.int64) for values in columns[column]]
            return pad_sequence(tensors, batch_first=True, padding_value=fill)

        input_ids = padded("input_ids", self._pad_token_id)
        lengths = torch.tensor([len(values) for values in columns["input_ids"]])
        real = torch.arange(input_ids.shape[1])[None, :] < lengths[:, None]
        numbers = torch.arange(len(lengths))[:, None].expand_as(real)
        batch = TaskBatch(
            inputs={"input_ids": input_ids, "attention_mask": real.to(torch.int64)},
            labels=padded("labels", -100),
            row_of_token=torch.where(real, numbers, -1),
            task_of_row=torch.as_tensor(self.tasks(np.asarray(rows)), dtype=torch.int64),
        )
        return batch.to(self._device)
