"""The losses of the rows of each optimizer step, all ranks together, for the rows' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.sampling.row_scores import RowScores


class LearnedRows:
    """Scores of rows that follow a run.

    Args:
        pools: the training rows.
        sum_over_ranks: adds an array over the processes of the run; all call it at once.
    """

    def __init__(
        self, pools: TaskPools, sum_over_ranks: Callable[[np.ndarray], np.ndarray] = np.asarray
    ) -> None:
        self.scores = RowScores(pools)
        self._sum_over_ranks = sum_over_ranks
        self._taken: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # of this rank

    def take(self, rows: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Rows of a micro-batch of this rank, (R,) each: numbers, sums of their token losses, and
        how many tokens these are."""
        self._taken.append((rows, sums, tokens))

    def end_step(self, block: Sequence[int]) -> None:
        """After an optimizer step.

        Args:
            block: its rows, those of all ranks, which has one twice if it was drawn twice.
        """
        rows = np.unique(block)
        losses = np.zeros((2, len(rows)))
        for some, sums, tokens in self._taken:
            places = np.searchsorted(rows, some)
            np.add.at(losses[0], places, sums)
            np.add.at(losses[1], places, tokens)
        self._taken = []
        sums, tokens = self._sum_over_ranks(losses)
        self.scores.take(rows, sums, tokens)
