"""Which rows of a task come round again: those whose losses stay far above the others' are drawn
less often. K tasks, N rows.

    the losses of a row's visits -> its score -> the part of its passes in which it is drawn

A row with a wrong answer is learned late or never. While a task's rows are seen for the first time
nothing tells it from one that is hard: on the study's data with a tenth of the answers shuffled the
tenth with the highest losses holds 9 % of these rows at the first visit, 54 % at the second, 72 and
79 % after that. So rows are chosen among from the third pass on, by what the last visit said:

    z = (loss per token - mean) / deviation     over the last rows of the task          (ours)
    expected z now = r^age z                    age: passes since the visit

r is the correlation of a visit with the one before it, over the task's last rows, mostly one pass
apart: what the best linear forecast of an AR(1) process leaves of z. (There, the second visit
correlates by .79 with the third and .75 with the fourth, the third by .91 with the fourth.) Where
losses do not repeat, or were seen long ago, a row counts as one like the others. A row that is
expected at most one deviation above its task's mean is drawn in each pass; with every half
deviation above that e times less often; and each row in a tenth of the passes at least, so that
none is lost and a wrong judgement is found out.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from adapt_axolotl.data.pools import TaskPools

# Deviations above the task's mean up to which a row is always drawn, and in how many more it is
# drawn e times less often.
START, SCALE = 1.0, 0.5

# Least part of its passes in which a row is drawn.
FLOOR = 0.1

# About so many of a task's last rows say how its losses lie.
WINDOW = 128

# Pairs of visits without any correlation that are counted beside those that were seen.
PRIOR_PAIRS = 16.0

# Of these rows or fewer there is no telling which is far off.
LEAST_ROWS = 8.0

_UNIT = 1 / 1000  # of stored scores; they fit 16 bits up to 32 deviations
_NEVER = np.iinfo(np.int16).min
_OLDEST = np.iinfo(np.uint8).max

# Of the last rows of each task: how many, and the sums of losses and of their squares; of the pairs
# of visits: the sums of squares of the first and the second score, and of their products.
_COUNT, _SUM, _SQUARES, _FIRST, _SECOND, _BOTH = range(6)


class RowScores:
    """Scores of all rows, three bytes each.

    Args:
        pools: the rows.
    """

    def __init__(self, pools: TaskPools) -> None:
        self._pools = pools
        rows = len(pools.task_of_row)
        self._scores = np.full(rows, _NEVER, dtype=np.int16)
        self._ages = np.zeros(rows, dtype=np.uint8)
        self._moments = np.zeros((6, len(pools.tasks)))

    def take(self, rows: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Losses of rows of one optimizer step, those of all ranks. Rows without a finite loss are
        left out.

        Args:
            rows: (R,) row numbers, each once.
            sums: (R,) of their token losses, nats.
            tokens: (R,) how many these are.
        """
        usable = np.isfinite(sums) & (tokens > 0)
        rows, losses = rows[usable], sums[usable] / tokens[usable]
        tasks = self._pools.task_of_row[rows]
        self._add(tasks, _COUNT, np.ones_like(losses), decay=(_COUNT, _SUM, _SQUARES))
        self._add(tasks, _SUM, losses)
        self._add(tasks, _SQUARES, losses**2)
        mean, deviation = self._level()
        told = deviation[tasks] > 0
        rows, tasks, losses = rows[told], tasks[told], losses[told]
        now = (losses - mean[tasks]) / deviation[tasks]
        seen = self._scores[rows] != _NEVER
        before = self._scores[rows[seen]] * _UNIT
        self._add(tasks[seen], _FIRST, before**2, decay=(_FIRST, _SECOND, _BOTH))
        self._add(tasks[seen], _SECOND, now[seen] ** 2)
        self._add(tasks[seen], _BOTH, before * now[seen])
        self._scores[rows] = np.rint((now / _UNIT).clip(_NEVER + 1, -_NEVER - 1))
        self._ages[rows] = 0

    def _add(
        self, tasks: np.ndarray, moment: int, values: np.ndarray, decay: tuple[int, ...] = ()
    ) -> None:
        """Add values of rows to one moment of their tasks, after these ones have faded."""
        count = self._moments.shape[1]
        if decay:
            faded = (1 - 1 / WINDOW) ** np.bincount(tasks, minlength=count)
            self._moments[list(decay)] *= faded
        self._moments[moment] += np.bincount(tasks, weights=values, minlength=count)

    def _level(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) mean and deviation of the losses of each task's last rows; a deviation of 0 where
        they are too few."""
        count, total, squares = self._moments[[_COUNT, _SUM, _SQUARES]]
        mean = total / np.maximum(count, 1)
        variance = squares / np.maximum(count, 1) - mean**2
        # Less than this is rounding.
        told = (count > LEAST_ROWS) & (variance > 1e-12 * mean**2)
        return mean, np.sqrt(np.where(told, variance, 0.0))

    def correlations(self) -> np.ndarray:
        """(K,) r: of two visits one pass apart, 0 where losses do not repeat."""
        first, second, both = self._moments[[_FIRST, _SECOND, _BOTH]]
        return (both / (np.sqrt(first * second) + PRIOR_PAIRS)).clip(0, 1)

    def begin_pass(self, task: int) -> None:
        """All rows of a task are to be drawn from again."""
        rows = self._pools.rows(task)
        self._ages[rows] = np.minimum(self._ages[rows], _OLDEST - 1) + 1

    def part(self, row: int) -> float:
        """In which part of its passes a row is drawn, from now on."""
        if self._scores[row] == _NEVER:
            return 1.0
        task = self._pools.task_of_row[row]
        first, second, both = self._moments[[_FIRST, _SECOND, _BOTH], task].tolist()
        correlation = min(1.0, max(0.0, both / (math.sqrt(first * second) + PRIOR_PAIRS)))
        expected = correlation ** max(1, int(self._ages[row])) * int(self._scores[row]) * _UNIT
        return min(1.0, max(FLOOR, math.exp((START - expected) / SCALE)))

    def scores(self) -> np.ndarray:
        """(N,) z of each row's last visit; NaN for rows that were never seen, or while there were
        too few to tell."""
        return np.where(self._scores == _NEVER, np.nan, self._scores * _UNIT)

    def parts(self) -> np.ndarray:
        """(N,) as `part`, of all rows at once."""
        correlations = self.correlations()[self._pools.task_of_row]
        expected = correlations ** np.maximum(1, self._ages) * self._scores * _UNIT
        parts = np.exp((START - expected) / SCALE).clip(FLOOR, 1)
        return np.where(self._scores == _NEVER, 1.0, parts)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able, four characters a row."""
        packed = self._scores.astype("<i2").tobytes() + self._ages.tobytes()
        return {
            "rows": base64.b64encode(packed).decode("ascii"),
            "moments": self._moments.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        packed = base64.b64decode(state["rows"])
        count = len(self._scores)
        self._scores = np.frombuffer(packed[: 2 * count], dtype="<i2").astype(np.int16)
        self._ages = np.frombuffer(packed[2 * count :], dtype=np.uint8).copy()
        self._moments = np.array(state["moments"])
