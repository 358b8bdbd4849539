"""The training loss of each task, for the logs. K tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


class TaskLosses:
    """Means over supervised tokens of the rows trained on since they were last asked for, each row
    as it was before its step.

    Args:
        tasks: the K names.
        sum_over_ranks: adds an array over the processes of the run; all call it at once.
    """

    def __init__(
        self, tasks: Sequence[str], sum_over_ranks: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._tasks = tuple(tasks)
        self._sum_over_ranks = sum_over_ranks
        self._sums = np.zeros((2, len(self._tasks)))  # of token losses, and of tokens

    def add(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Rows of this rank.

        Args:
            tasks: (R,) of the rows.
            sums: (R,) of their token losses, nats.
            tokens: (R,) how many these are.
        """
        np.add.at(self._sums[0], tasks, sums)
        np.add.at(self._sums[1], tasks, tokens)

    def means(self) -> dict[str, float]:
        """By task, those of which there were rows; the next ones are counted from here on."""
        sums, tokens = self._sum_over_ranks(self._sums)
        self._sums = np.zeros_like(self._sums)
        return {
            name: float(sums[k] / tokens[k]) for k, name in enumerate(self._tasks) if tokens[k] > 0
        }
