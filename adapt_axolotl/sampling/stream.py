"""Choose training rows one by one so that the tasks get their shares. K tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.sampling.row_scores import RowScores

Unit = Literal["tokens", "examples"]

# Counted from 0, the first pass in which rows are chosen among.
CHOOSING_PASS = 2


@dataclass(frozen=True)
class Pass:
    """A pass over the N_k rows of a task.

    Attributes:
        number: from 0.
        order: (N_k,) places in its pool, in the order of drawing.
        chances: (N_k,) from 0 to 1, in that order: a row is drawn where its part of the passes is
            larger. None where all rows are drawn: without scores, and while these are of first
            visits, which tell nothing.
    """

    number: int
    order: np.ndarray
    chances: np.ndarray | None


class TaskStream:
    """An endless, seeded stream of rows whose task shares follow given proportions.

    Largest credit first (ours): after a draw of w units (the row's supervised tokens, or 1 for
    `unit="examples"`) every task earns p_k * w and the drawn task pays w. Credits stay bounded, so
    over any stretch task k gets its share p_k to within about one row, for changing proportions
    too; independent draws would be off by the square root of their number. Start credits are
    random phases from the seed, which spreads the first draws by seed instead of by task number.
    Within a task rows come in a new seeded order each pass; with row scores some of them are
    passed over.

    Args:
        pools: the rows to draw from.
        unit: what a share counts.
        seed: of the start credits and the row orders.
        max_repeats: passes over a task's pool after which it gives no more rows; its share goes to
            the others in proportion. With scores it has given as many rows as in so many passes.
        ordered: take the tasks in turn (round robin) instead.
        scores: say in which part of the passes a row is drawn; None draws all rows in each.
    """

    def __init__(
        self,
        pools: TaskPools,
        *,
        unit: Unit,
        seed: int,
        max_repeats: float | None = None,
        ordered: bool = False,
        scores: RowScores | None = None,
    ) -> None:
        self._pools = pools
        self._unit = unit
        self._seed = seed
        num_tasks = len(pools.tasks)
        sizes = pools.rows_of_task
        # A task without rows is a target; it has no share.
        mean_units = np.ones(num_tasks)
        if unit == "tokens":
            mean_units = pools.available_tokens / np.maximum(1, sizes)
        phases = RandomStream.FIRST_DRAWS.generator(seed).random(num_tasks)
        self._credits = -phases * mean_units
        self._ordered = ordered
        self._scores = scores
        self._drawn = np.zeros(num_tasks, dtype=np.int64)
        self._passed_over = np.zeros(num_tasks, dtype=np.int64)
        self._begun = np.zeros(num_tasks, dtype=np.int64)  # passes that the scores know of
        self._limit = None if max_repeats is None else np.maximum(1, sizes * max_repeats)
        self._passes: list[Pass | None] = [None] * num_tasks

    def draw(self, proportions: np.ndarray, left: np.ndarray | None = None) -> int | None:
        """The next row, or None when every task has reached `max_repeats`.

        Args:
            proportions: (K,) shares, summing to 1.
            left: (K,) supervised tokens that a task may still get; infinite where any number, which
                all may by default.
        """
        open_tasks = proportions > 0
        if left is not None:
            for task in np.flatnonzero(np.isfinite(left)).tolist():
                next_one = self._pools.supervised_tokens[self._next_row(task)]
                open_tasks[task] &= next_one <= left[task]
        if self._limit is not None:
            open_tasks &= self._drawn < self._limit
        if not open_tasks.any():
            return None
        urgency = -self._drawn.astype(np.float64) if self._ordered else self._credits
        task = int(np.argmax(np.where(open_tasks, urgency, -np.inf)))
        row = self._next_row(task)
        units = float(self._pools.supervised_tokens[row]) if self._unit == "tokens" else 1.0
        shares = np.where(open_tasks, proportions, 0.0)
        self._credits += shares / shares.sum() * units
        self._credits[task] -= units
        self._drawn[task] += 1
        return row

    def _next_row(self, task: int) -> int:
        """The row of a task that is drawn next; those before it are passed over for good."""
        size = int(self._pools.rows_of_task[task])
        while True:
            number, place = divmod(int(self._drawn[task] + self._passed_over[task]), size)
            one = self._passes[task]
            if one is None or one.number != number:
                one = self._passes[task] = self._begin_pass(task, number)
            row = int(self._pools.rows(task)[one.order[place]])
            if self._scores is None or one.chances is None:
                return row
            if one.chances[place] < self._scores.part(row):
                return row
            self._passed_over[task] += 1

    def _begin_pass(self, task: int, number: int) -> Pass:
        size = int(self._pools.rows_of_task[task])
        order = RandomStream.ROW_ORDER.generator(self._seed, task, number).permutation(size)
        chances = None
        if self._scores is not None and number >= CHOOSING_PASS:
            rng = RandomStream.ROW_CHANCES.generator(self._seed, task, number)
            chances = rng.random(size, dtype=np.float32)
        if self._scores is not None and number > self._begun[task]:
            # Not where a resumed run goes on within it.
            self._scores.begin_pass(task)
            self._begun[task] = number
        return Pass(number, order.astype(np.int32), chances)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; it does not grow with the rows, unless they have scores."""
        return {
            "credits": self._credits.tolist(),
            "drawn": self._drawn.tolist(),
            **({} if self._scores is None else self._scored(self._scores)),
        }

    def _scored(self, scores: RowScores) -> dict[str, Any]:
        return {
            "passed_over": self._passed_over.tolist(),
            "begun": self._begun.tolist(),
            "scores": scores.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._credits = np.array(state["credits"], dtype=np.float64)
        self._drawn = np.array(state["drawn"], dtype=np.int64)
        if self._scores is not None:
            self._passed_over = np.array(state["passed_over"], dtype=np.int64)
            self._begun = np.array(state["begun"], dtype=np.int64)
            self._scores.load_state_dict(state["scores"])
