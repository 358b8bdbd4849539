"""How the tasks stand whose training rows have all been seen: the losses of a few of their
validation rows, the same at each meta step. K tasks.

Once a run repeats a task's rows, their losses tell what it remembers and not what it has learned.
Validation rows do, for forwards of their own, which take a small share of the training since the
meta step before, whatever the number of tasks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.schedule import FORWARD
from adapt_axolotl.meta_step.validation import losses_of_rows
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learning_curves import GROWTH, row_moments

# Of the training time since the meta step before.
SHARE = 0.02

# Validation rows of a task: fewer say nothing of how they scatter, more are not needed.
LEAST_ROWS, MOST_ROWS = 2, 16


def chosen_rows(pools: TaskPools, tasks: np.ndarray, trained: float, seed: int) -> np.ndarray:
    """Row numbers, ascending, that a meta step measures: as many of each task as it can afford, the
    first ones in an order of the task's own that stays; none where these are too few.

    Args:
        pools: the validation rows.
        tasks: (K,) bool.
        trained: supervised tokens so far, of which a part lies between two meta steps.
        seed: of the orders.
    """
    numbers = np.flatnonzero(tasks)
    affordable = SHARE / FORWARD * (1 - 1 / GROWTH) * trained
    of_a_row = (pools.available_tokens[tasks] / pools.rows_of_task[tasks]).sum()
    count = min(MOST_ROWS, int(affordable / of_a_row)) if len(numbers) else 0
    parts = [np.zeros(0, dtype=np.int64)]
    if count >= LEAST_ROWS:
        for task in numbers.tolist():
            rng = RandomStream.HELD_OUT_ROWS.generator(seed, task)
            parts.append(rng.permutation(pools.rows(task))[:count])
    return np.sort(np.concatenate(parts))


@dataclass(frozen=True)
class HeldOut:
    """Measures validation rows.

    Attributes:
        model: the trained module, as forwards go through it.
        rows: of validation.
        pools: the same rows as index arrays.
        ranks: the processes of the run.
        measuring: a context in which the model can be measured.
        seed: of the rows drawn.
    """

    model: nn.Module
    rows: MeasuringRows
    pools: TaskPools
    ranks: Ranks
    measuring: Callable[[], contextlib.AbstractContextManager[Any]]
    seed: int

    def tokens(self, tasks: np.ndarray, trained: float) -> int:
        """Supervised tokens that are read for these tasks, (K,) bool, when so many are trained."""
        return self.rows.tokens(chosen_rows(self.pools, tasks, trained, self.seed))

    def moments(self, tasks: np.ndarray, trained: float) -> np.ndarray:
        """(6, K) of the losses of these rows, as `row_moments` has them."""
        chosen = chosen_rows(self.pools, tasks, trained, self.seed)
        with self.measuring():
            sums, tokens = losses_of_rows(self.model, self.rows, chosen, self.ranks)
        return row_moments(self.rows.tasks(chosen), sums, tokens.numpy(), len(tasks))
