"""The rows that a mixture draws from, as index arrays: which task, how long, how many tokens.

K tasks, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class TaskPools:
    """Rows grouped by task.

    Attributes:
        tasks: the K task names; a task's number is its place in this tuple. In the training pools a
            target that is no training task has no rows.
        task_of_row: (N,) int, the task of each row.
        supervised_tokens: (N,) int, labels other than -100 in each row; every row has at least one.
        lengths: (N,) int, all tokens of each row.
    """

    tasks: tuple[str, ...]
    task_of_row: np.ndarray
    supervised_tokens: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.task_of_row, self.supervised_tokens, self.lengths)}
        assert len(shapes) == 1, f"one entry a row in every array, got shapes {shapes}"

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.task_of_row, kind="stable").astype(np.int32)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.rows_of_task)])

    def rows(self, task: int) -> np.ndarray:
        """The row numbers of a task, (N_k,) int32, ascending."""
        return self._order[self._starts[task] : self._starts[task + 1]]

    @cached_property
    def rows_of_task(self) -> np.ndarray:
        """Rows in each task's pool, (K,) int64."""
        return np.bincount(self.task_of_row, minlength=len(self.tasks)).astype(np.int64)

    @cached_property
    def available_tokens(self) -> np.ndarray:
        """Supervised tokens in each task's pool, (K,) int64."""
        return self.by_task(self.supervised_tokens).astype(np.int64)

    def by_task(self, values: np.ndarray) -> np.ndarray:
        """Sums of `values`, (N,), over the rows of each task, (K,) float64."""
        return np.bincount(self.task_of_row, weights=values, minlength=len(self.tasks))
