"""Choose training rows one by one so that the tasks get their shares. K tasks."""

from __future__ import annotations

from typing import Literal

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream

Unit = Literal["tokens", "examples"]


class TaskStream:
    """An endless, seeded stream of rows whose task shares follow given proportions.

    Largest credit first (ours): after a draw of w units (the row's supervised tokens, or 1 for
    `unit="examples"`) every task earns p_k * w and the drawn task pays w. Credits stay bounded, so
    over any stretch task k gets its share p_k to within about one row, for changing proportions
    too; independent draws would be off by the square root of their number. Start credits are
    random phases from the seed, which spreads the first draws by seed instead of by task number.
    Within a task rows come in a new seeded order each pass.

    Args:
        pools: the rows to draw from.
        unit: what a share counts.
        seed: of the start credits and the row orders.
        max_repeats: passes over a task's pool after which it gives no more rows; its share goes to
            the others in proportion.
        ordered: take the tasks in turn (round robin) instead.
    """

    def __init__(
        self,
        pools: TaskPools,
        *,
        unit: Unit,
        seed: int,
        max_repeats: float | None = None,
        ordered: bool = False,
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
        self._drawn = np.zeros(num_tasks, dtype=np.int64)
        self._limit = None if max_repeats is None else np.maximum(1, sizes * max_repeats)
        self._orders: list[tuple[int, np.ndarray] | None] = [None] * num_tasks

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
        rows = self._pools.rows(task)
        passes, place = divmod(int(self._drawn[task]), len(rows))
        order = self._orders[task]
        if order is None or order[0] != passes:
            rng = RandomStream.ROW_ORDER.generator(self._seed, task, passes)
            order = (passes, rng.permutation(len(rows)).astype(np.int32))
            self._orders[task] = order
        return int(rows[order[1][place]])

    def state_dict(self) -> dict[str, list]:
        """JSON-able, O(K): it does not grow with the rows."""
        return {"credits": self._credits.tolist(), "drawn": self._drawn.tolist()}

    def load_state_dict(self, state: dict[str, list]) -> None:
        self._credits = np.array(state["credits"], dtype=np.float64)
        self._drawn = np.array(state["drawn"], dtype=np.int64)
