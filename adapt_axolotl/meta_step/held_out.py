"""How the tasks stand whose training rows have all been seen: the losses of a few of their
validation rows, the same at each meta step. K tasks.

Once a run repeats a task's rows, their losses tell what it remembers and not what it has learned.
Validation rows do, for forwards of their own, which take a small share of the training since the
meta step before. What makes one row harder than another is taken off: from its second measurement
on, a row counts as its task's first mean and its own change since then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.schedule import FORWARD
from adapt_axolotl.meta_step.validation import losses_of_rows, usable_tasks
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learning_curves import GROWTH, row_moments

# Of the training time since the meta step before.
SHARE = 0.02

# Validation rows of a task: fewer say nothing of how they scatter, more are not needed.
LEAST_ROWS, MOST_ROWS = 2, 16


class HeldOutRows:
    """Which validation rows are measured. A task keeps those that it was admitted with.

    Args:
        validation: the rows to choose from.
        training: tells how long a row is for each supervised token.
        seed: of the choice.
    """

    def __init__(self, validation: TaskPools, training: TaskPools, seed: int) -> None:
        self.tasks = validation.tasks
        self.counts = np.zeros(len(self.tasks), dtype=np.int64)  # rows of each task
        self._validation = validation
        self._seed = seed
        rows = np.maximum(1, validation.rows_of_task)
        self._row_length = validation.by_task(validation.lengths) / rows
        supervised = np.maximum(1, training.available_tokens)
        self._length_of_a_token = training.by_task(training.lengths) / supervised

    def admitted(self, old: np.ndarray, trained: np.ndarray) -> np.ndarray:
        """(K,) counts, with those of tasks that there is time for now.

        Args:
            old: (K,) bool, tasks without new rows.
            trained: (K,) supervised tokens of each task trained on.
        """
        new = old & (self.counts == 0)
        if not new.any():
            return self.counts
        since_the_last = (1 - 1 / GROWTH) * float(self._length_of_a_token @ trained)
        free = SHARE / FORWARD * since_the_last - float(self._row_length @ self.counts)
        rows = min(MOST_ROWS, int(max(0.0, free) / self._row_length[new].sum()))
        count = rows if rows >= LEAST_ROWS else 0
        return np.where(new, np.minimum(count, self._validation.rows_of_task), self.counts)

    def chosen(self, counts: np.ndarray) -> np.ndarray:
        """Row numbers, ascending: so many of each task, the first ones in an order of its own."""
        parts = [np.zeros(0, dtype=np.int64)]
        for task in np.flatnonzero(counts).tolist():
            rng = RandomStream.HELD_OUT_ROWS.generator(self._seed, task)
            parts.append(rng.permutation(self._validation.rows(task))[: counts[task]])
        return np.sort(np.concatenate(parts))

    def tokens(self, counts: np.ndarray) -> int:
        """Supervised tokens in `chosen`."""
        return int(self._validation.supervised_tokens[self.chosen(counts)].sum())


class HeldOut:
    """Measures these rows.

    Args:
        model: the trained module, as forwards go through it.
        rows: of validation.
        which: of them are measured.
        ranks: the processes of the run.
        measuring: a context in which the model can be measured.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: MeasuringRows,
        which: HeldOutRows,
        ranks: Ranks,
        measuring: Callable[[], contextlib.AbstractContextManager[Any]],
    ) -> None:
        self._model = model
        self._rows = rows
        self._which = which
        self._ranks = ranks
        self._measuring = measuring
        self._first: dict[int, float] = {}  # by row number: the sum of its token losses
        self._warned = np.zeros(len(which.tasks), dtype=bool)

    def tokens(self, old: np.ndarray, trained: np.ndarray) -> int:
        """Supervised tokens that `moments` would read."""
        return self._which.tokens(self._which.admitted(old, trained))

    def moments(self, old: np.ndarray, trained: np.ndarray) -> np.ndarray:
        """(6, K) as `row_moments` has them, 0 for tasks that are not measured. For the arguments
        see `HeldOutRows.admitted`."""
        self._which.counts = self._which.admitted(old, trained)
        chosen = self._which.chosen(self._which.counts)
        with self._measuring():
            sums, counted = losses_of_rows(self._model, self._rows, chosen, self._ranks)
        tokens, tasks = counted.numpy(), self._rows.tasks(chosen)
        for row, loss in zip(chosen.tolist(), sums.tolist(), strict=True):
            if np.isfinite(loss):
                self._first.setdefault(row, loss)
        first = np.array([self._first.get(row, np.nan) for row in chosen.tolist()])
        total, count = (
            np.bincount(tasks, weights=one, minlength=len(old)) for one in (first, tokens)
        )
        means = total / np.maximum(1, count)
        moments = row_moments(tasks, sums - first + means[tasks] * tokens, tokens, len(old))
        usable = usable_tasks(self._which.tasks, moments, self._warned, "validation rows")
        return np.where(usable, moments, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit. A number for each row that is measured."""
        return {
            "counts": self._which.counts.tolist(),
            "first": {str(row): loss for row, loss in self._first.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._which.counts = np.array(state["counts"], dtype=np.int64)
        self._first = {int(row): loss for row, loss in state["first"].items()}
