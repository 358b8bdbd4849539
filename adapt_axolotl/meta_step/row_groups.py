"""Rows of one task, dealt into groups once; each turn takes the next ones of each group.

How far measurements on single groups differ tells what of a mean over them is chance. A row stays
in its group, so that rows which are read again, in a later turn, do not look like new evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream

# A task with fewer rows cannot be measured so.
GROUPS = 8


class RowGroups:
    """See the module docstring.

    Args:
        pools: the rows.
        task: whose.
        rows: of all groups together in a turn.
        seed: of the run.
    """

    def __init__(self, pools: TaskPools, task: int, rows: int, seed: int) -> None:
        order = RandomStream.EFFECT_ROWS.generator(seed, task).permutation(pools.rows(task))
        self._groups = [order[group::GROUPS] for group in range(GROUPS)]
        self._each = max(1, rows // GROUPS)

    def at(self, turn: int) -> Iterator[np.ndarray]:
        """Row numbers of each group in this turn, from 0."""
        for group in self._groups:
            each = min(self._each, len(group))
            yield group[(turn * each + np.arange(each)) % len(group)]
