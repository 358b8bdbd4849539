"""A micro-batch whose rows have tasks.

Dimensions: B lines, T tokens a line, R rows. Padded: one row a line. Packed: several rows a line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor over the ranks and gives it back."""


def alone(tensor: Tensor) -> Tensor:
    """The `Reduce` of a single process."""
    return tensor


@dataclass(frozen=True)
class TaskBatch:
    """See the module docstring.

    Attributes:
        inputs: what the model takes, without labels; each (B, T).
        labels: (B, T), -100 where not supervised, not shifted.
        row_of_token: (B, T) int64 in 0..R-1, -1 for padding.
        task_of_row: (R,) int64.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    row_of_token: Tensor
    task_of_row: Tensor

    def to(self, device: torch.device) -> TaskBatch:
        """The same batch on a device."""
        return TaskBatch(
            {name: tensor.to(device) for name, tensor in self.inputs.items()},
            self.labels.to(device),
            self.row_of_token.to(device),
            self.task_of_row.to(device),
        )

    def lines_of(self, rows: Tensor) -> TaskBatch:
        """The lines that hold any of these rows, (R,) bool; rows keep their numbers."""
        inside = self.row_of_token >= 0
        lines = (rows[self.row_of_token.clamp(min=0)] & inside).any(dim=1)
        return TaskBatch(
            {name: tensor[lines] for name, tensor in self.inputs.items()},
            self.labels[lines],
            self.row_of_token[lines],
            self.task_of_row,
        )

    def learned(self) -> Tensor:
        """(B, T-1) bool: position t predicts a supervised token of its own row at t + 1."""
        row = self.row_of_token
        return (self.labels[:, 1:] != -100) & (row[:, 1:] >= 0) & (row[:, 1:] == row[:, :-1])

    def tokens_of_rows(self) -> Tensor:
        """(R,) int64, supervised tokens that enter each row's loss."""
        rows = self.row_of_token[:, 1:][self.learned()]
        return torch.bincount(rows, minlength=len(self.task_of_row))
