"""Rows in groups, read in turns."""

from __future__ import annotations

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.row_groups import GROUPS, RowGroups


def test_rows_stay_in_their_group_and_are_read_in_turn() -> None:
    pools = TaskPools(("a",), np.zeros(40, dtype=int), np.ones(40), np.ones(40))
    groups = RowGroups(pools, 0, 2 * GROUPS, seed=1)
    first, second, third, fourth = (list(groups.at(number)) for number in range(4))
    for number in range(GROUPS):
        # Five rows a group, two at a time.
        seen = [*first[number], *second[number], third[number][0]]
        assert len(set(seen)) == 5
        assert [third[number][1], *fourth[number]] == seen[:3]
    assert len({row for part in first for row in part}) == 2 * GROUPS
