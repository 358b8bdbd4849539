"""Some rows of a micro-batch as a micro-batch of their own, laid out as training lays them out.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from adapt_axolotl.metagradient.task_batch import TaskBatch

MASK = "attention_mask"
# What stands beside rows that were cut out of packed sequences; it comes after them, so that no
# row's token sees it.
BESIDE = {"labels": -100, "rows": -1}


def obstacle_to_cutting(inputs: Mapping[str, Any], labels: Tensor, places: Tensor) -> str | None:
    """Why the rows of a micro-batch cannot be told apart in what the model takes, or None.

    Args:
        inputs: of the model, without labels.
        labels: (B, T).
        places: (B, T) the row of each token, -1 beside rows.
    """
    for name, value in inputs.items():
        if not isinstance(value, Tensor) or value.shape != labels.shape:
            return f"the model's {name} cannot be cut: it is not one value for each token"
    if learns_across_rows(labels, places):
        return "packed rows whose first token is supervised: it is predicted from another row"
    return None


def learns_across_rows(labels: Tensor, row_of_token: Tensor) -> bool:
    """Whether a supervised token, (B, T), is predicted from a token of another row."""
    before, after = row_of_token[:, :-1], row_of_token[:, 1:]
    crossing = (before != after) & (before >= 0) & (after >= 0)
    return bool((crossing & (labels[:, 1:] != -100)).any())


def rows_apart(batch: TaskBatch, rows: Tensor) -> TaskBatch:
    """The micro-batch without other rows, and with no more padding than these need.

    Args:
        batch: no row of it learns from another.
        rows: (R,) bool, one at least.

    Returns:
        Their batch; rows have new numbers, in the same order.
    """
    inside = batch.row_of_token >= 0
    mine = rows[batch.row_of_token.clamp(min=0)] & inside
    sequences = mine.any(dim=1)
    columns = {**batch.inputs, "labels": batch.labels, "rows": batch.row_of_token}
    columns = {name: column[sequences] for name, column in columns.items()}
    inside, mine = inside[sequences], mine[sequences]
    if MASK in batch.inputs:
        mine = mine & (columns[MASK] != 0)  # the row of a padded sequence may go to its end
        inside = inside & (columns[MASK] != 0)
    if bool((mine == inside).all()):
        width = int(mine.any(dim=0).nonzero().max()) + 1
        columns = {name: column[:, :width] for name, column in columns.items()}
    else:
        columns = _taken_out(columns, mine)
    numbers = torch.cumsum(rows.long(), 0) - 1
    places = columns.pop("rows")
    labels = columns.pop("labels")
    places = torch.where(places >= 0, numbers[places.clamp(min=0)], -1)
    return TaskBatch(columns, labels, places, batch.task_of_row[rows])


def _taken_out(columns: dict[str, Tensor], mine: Tensor) -> dict[str, Tensor]:
    """Of each packed sequence the tokens that are mine, (B, T) bool, one after the other."""
    counts = mine.sum(dim=1, keepdim=True)
    width = int(counts.max())
    order = (~mine).int().argsort(dim=1, stable=True)[:, :width]
    beside = torch.arange(width, device=mine.device)[None, :] >= counts
    taken = {
        name: column.gather(1, order).masked_fill(beside, BESIDE.get(name, 0))
        for name, column in columns.items()
    }
    if MASK in taken and bool((taken[MASK] > 1).any()):
        # It numbers the rows of a sequence from 1 on, and kernels take these to be without gaps.
        rows = taken["rows"]
        starts = torch.cat([torch.zeros_like(rows[:, :1]), (rows[:, 1:] != rows[:, :-1])], dim=1)
        taken[MASK] = torch.where(beside, 0, 1 + starts.long().cumsum(1)).to(taken[MASK].dtype)
    return taken
