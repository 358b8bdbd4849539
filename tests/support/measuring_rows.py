"""Rows of three tasks that a meta step measures."""

from __future__ import annotations

import numpy as np
import torch
from datasets import Dataset

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.rows import MeasuringRows
from tests.support.models import make_rows

TASKS = ("a", "b", "c")
# Trained so far, which gradient products do not ask for.
POISON = 60


def make_measuring_rows(seed: int, poisoned_task: int | None = None) -> MeasuringRows:
    rows = make_rows(30, seed)
    task_of_row = np.arange(30) % 3
    for row, task in zip(rows, task_of_row, strict=True):
        row[row == POISON] = 5
        if task == poisoned_task:
            row[0] = POISON
    labels = [[-100, *row.tolist()[1:]] for row in rows]
    data = Dataset.from_dict({"input_ids": [row.tolist() for row in rows], "labels": labels})
    lengths = np.array([len(row) for row in rows])
    pools = TaskPools(TASKS, task_of_row, lengths - 1, lengths)
    return MeasuringRows(
        data,
        pools,
        pad_token_id=2,
        micro_batch_tokens=4 * int(lengths.max()),
        device=torch.device("cpu"),
    )
