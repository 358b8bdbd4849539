"""So many supervised tokens of a run for a task, whatever the mixture of the others. K tasks.

A task with a quota is drawn at the share that spreads what is left of it over what is left of the
budget; the others share the rest as their mixture says. A run ends with the first block that does
not fit, so a bit of the budget stays unspent: the quota is spread over a budget that is two blocks
shorter, and once it has been drawn the task is drawn no more. So the task gets its tokens to within
a row, and never more.
"""

from __future__ import annotations

import numpy as np

# Blocks (optimizer steps) of the budget over which quotas are not spread.
SPARE = 2.0

# Share of the tasks without a quota while those with one are to have everything: they take the
# place of a row that is larger than what is left of a quota.
LEAST = 1e-6


def shares_with_quotas(
    proportions: np.ndarray, left: np.ndarray, free: float, block: float
) -> np.ndarray:
    """(K,) shares of the tokens to come.

    Args:
        proportions: (K,) of the mixture; those of tasks with a quota are not read.
        left: (K,) tokens that each task is still to get; infinite without a quota.
        free: tokens of the budget that are not drawn yet.
        block: tokens of a block, about.
    """
    bounded = np.isfinite(left)
    wanted = np.where(bounded, left, 0.0).clip(min=0) / max(free - SPARE * block, 1.0)
    if wanted.sum() > 1 - LEAST:
        wanted *= (1 - LEAST) / wanted.sum()
    others = np.where(bounded, 0.0, proportions)
    return wanted + others / others.sum() * (1 - wanted.sum())
