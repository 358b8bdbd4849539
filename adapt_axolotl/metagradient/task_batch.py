"""A micro-batch whose rows have tasks.

Dimensions: B sequences of T tokens, R rows. Padded: one row a sequence. Packed: several.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def sequences_of(self, rows: Tensor) -> TaskBatch:
        """The sequences that hold any of these rows, (R,) bool; rows keep their numbers."""
        inside = self.row_of_token >= 0
        sequences = (rows[self.row_of_token.clamp(min=0)] & inside).any(dim=1)
        return TaskBatch(
            {name: tensor[sequences] for name, tensor in self.inputs.items()},
            self.labels[sequences],
            self.row_of_token[sequences],
            self.task_of_row,
        )

    def tasks(self) -> list[int]:
        """Those of its rows, ascending."""
        found: list[int] = self.task_of_row.unique().tolist()
        return found

    def learned(self) -> Tensor:
        """(B, T-1) bool: position t predicts a supervised token of its own row at t + 1."""
        row = self.row_of_token
        return (self.labels[:, 1:] != -100) & (row[:, 1:] >= 0) & (row[:, 1:] == row[:, :-1])

    def tokens_of_rows(self) -> Tensor:
        """(R,) int64, supervised tokens that enter each row's loss."""
        rows = self.row_of_token[:, 1:][self.learned()]
        return torch.bincount(rows, minlength=len(self.task_of_row))
