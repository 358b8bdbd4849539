"""How fast each task's loss falls, by the losses of rows that a run trains on anyway. K tasks.

A row that a run has not trained on before is as good as one held out: its loss, taken in the
forward that trains on it, is an unbiased measurement of the task's validation loss at that moment
(prequential, Dawid, 1984). There are far more of them than a meta step could afford, and they are
free. Losses fall about as the logarithm of what was trained, so over the last part of a run

    V_k = a_k - f_k log n_k             n_k tokens of task k trained on

with f_k the fall of task k for each e-fold of its own tokens (ours; ADO, arXiv 2410.11820, fits
power laws over the whole run). Over its own tokens, because a share that was raised makes the loss
fall faster over all tokens, and would ask for more again. A task has no more to fall than its loss,
so f_k is V_k at most; of a task that has had no new rows for long nothing is known. The fit is by
least squares over intervals of training in which means and variances over rows are kept; so its
state does not grow with the run. Its standard errors are those of the rows, scaled up where the
intervals scatter about the lines by more than their rows do (the ratio of Birge, 1932).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# An interval ends when the tokens trained have grown by this factor since it began.
GROWTH = 1.15

# A line is fitted to the intervals of the last so many-fold of training, once there are so many.
WINDOW = 3.0
LEAST_INTERVALS = 4

# lambda of the rule `evidence` with these falls. They are over a task's own tokens and do not
# change with its share, so little is needed to hold the mixture.
ENTROPY_WEIGHT = 0.25

# A task's rows count beside so many typical ones in how much rows differ (a moderated variance,
# Smyth, 2004): a handful of rows may be alike by chance.
TYPICAL_ROWS = 4

# Sums over rows with w supervised tokens and a sum of token losses s, in this order.
MOMENTS = ("1", "w", "w^2", "s", "s w", "s^2")


@dataclass(frozen=True)
class Falls:
    """Arrays are (K,); NaN for a task with too little to be fitted.

    Attributes:
        falls: f_k, nats a token for each e-fold of the task's own tokens, V_k at most.
        errors: their standard errors.
        levels: V_k where the task's line ends now.
        freedom: degrees of freedom from which the noise is known, all tasks together.
    """

    falls: np.ndarray
    errors: np.ndarray
    levels: np.ndarray
    freedom: int


def latest(by_training: Falls | None, held_out: Falls | None, old: np.ndarray) -> Falls:
    """Each task by the rows that tell of it now.

    Args:
        by_training: by rows that were new when they were trained on.
        held_out: by validation rows.
        old: (K,) bool, tasks that have no new rows any more.
    """
    nothing = np.full(len(old), np.nan)
    none = Falls(nothing, nothing, nothing, 0)
    one, other = by_training or none, held_out or none
    known = old & np.isfinite(other.falls)
    freedom = one.freedom * bool(np.isfinite(one.falls[~known]).any())
    return Falls(
        falls=np.where(known, other.falls, one.falls),
        errors=np.where(known, other.errors, one.errors),
        levels=np.where(known, other.levels, one.levels),
        freedom=freedom + other.freedom * bool(known.any()),
    )


def begins_interval(begins: Sequence[float], tokens: float) -> bool:
    """Whether a step with so many tokens trained before it begins a new interval. begins: tokens
    at the begin of those so far."""
    return not begins or tokens >= GROWTH * begins[-1]


def in_window(begins: np.ndarray, last: float) -> np.ndarray:
    """Whether intervals count once one has begun at `last` tokens."""
    counts: np.ndarray = begins * WINDOW * GROWTH >= last
    return counts


def row_moments(tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray, count: int) -> np.ndarray:
    """(6, K) sums over rows, as `MOMENTS`.

    Args:
        tasks: (R,) of the rows.
        sums: (R,) of their token losses, nats.
        tokens: (R,) how many these are.
        count: K.
    """
    w, s = tokens.astype(float), sums.astype(float)
    parts = (np.ones(len(s)), w, w * w, s, s * w, s * s)
    return np.stack([np.bincount(tasks, weights=part, minlength=count) for part in parts])


def moderated(
    squares: np.ndarray, freedom: np.ndarray, token_squares: np.ndarray, fitted: np.ndarray
) -> np.ndarray:
    """(K,) variances of rows: a task's own, and `TYPICAL_ROWS` of the median task at its rows'
    lengths; 1 for tasks that are not fitted.

    Args:
        squares: (K,) sums of squared residuals.
        freedom: (K,) their degrees of freedom.
        token_squares: (K,) sums of w^2: longer rows differ by more nats.
        fitted: (K,) bool.
    """
    if not fitted.any():
        return np.ones(len(squares))
    freedom = np.where(fitted, freedom, 1)
    lengths = np.where(fitted, token_squares, 1.0) / freedom
    typical = float(np.median((squares / freedom / lengths)[fitted])) * lengths
    variances = (squares + TYPICAL_ROWS * typical) / (freedom + TYPICAL_ROWS)
    return np.where(fitted, variances, 1.0)


class LearningCurves:
    """Losses of rows over what was trained.

    Args:
        count: K.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        # Of each interval: the tokens at its begin, (K,) sums of w log n, and (6, K).
        self._begins: list[float] = []
        self._logs: list[np.ndarray] = []
        self._moments: list[np.ndarray] = []

    def ends(self, tokens: float) -> bool:
        """Whether a step with so many tokens trained before it begins a new interval."""
        return begins_interval(self._begins, tokens)

    def add(self, trained: np.ndarray, moments: np.ndarray) -> None:
        """Take in a step.

        Args:
            trained: (K,) n, tokens of each task trained before it.
            moments: (6, K) of its rows, as `row_moments` gives them.
        """
        tokens = max(1.0, float(trained.sum()))
        if self.ends(tokens):
            self._begins.append(tokens)
            self._logs.append(np.zeros(self._count))
            self._moments.append(np.zeros((len(MOMENTS), self._count)))
            self._forget()
        self._logs[-1] += moments[MOMENTS.index("w")] * np.log(np.maximum(1.0, trained))
        self._moments[-1] += moments

    def _forget(self) -> None:
        """Drop intervals that are out of the window."""
        while not in_window(np.array(self._begins[0]), self._begins[-1]):
            for values in (self._begins, self._logs, self._moments):
                values.pop(0)

    def fit(self) -> Falls | None:
        """The lines; None before there are `LEAST_INTERVALS`."""
        if len(self._begins) < LEAST_INTERVALS:
            return None
        n, w, ww, s, sw, ss = np.stack(self._moments).transpose(1, 0, 2)  # (I, K) each
        inside = n > 0
        x = np.where(inside, np.stack(self._logs) / np.where(inside, w, 1.0), 0.0)
        means = np.where(inside, s / np.where(inside, w, 1.0), 0.0)
        # Mean squared residual of a row about its interval's mean, pooled over intervals.
        squares = np.where(inside, ss - 2 * means * sw + means**2 * ww, 0.0).sum(axis=0)
        spare = n.sum(axis=0) - inside.sum(axis=0)
        squares = squares.clip(min=0)
        intervals = inside.sum(axis=0)
        fitted = (intervals >= LEAST_INTERVALS) & (spare >= LEAST_INTERVALS) & (squares > 0)
        row_variance = moderated(squares, spare, np.where(inside, ww, 0.0).sum(axis=0), fitted)
        weights = np.where(inside & fitted, w**2 / np.where(inside, n, 1.0), 0.0)
        weights = weights / row_variance
        total = np.where(fitted, weights.sum(axis=0), 1.0)
        x_mean, mean = (weights * x).sum(axis=0) / total, (weights * means).sum(axis=0) / total
        across = np.where(fitted, (weights * (x - x_mean) ** 2).sum(axis=0), 1.0)
        slopes = (weights * (x - x_mean) * (means - mean)).sum(axis=0) / across
        residuals = weights * (means - mean - slopes * (x - x_mean)) ** 2
        freedom = int((intervals - 2)[fitted].sum())
        if not freedom:
            return None
        scale = max(1.0, float(residuals.sum()) / freedom)
        nothing = np.full(self._count, np.nan)
        levels = (mean + slopes * (x.max(axis=0) - x_mean)).clip(min=0)
        errors = np.sqrt(scale / across)
        # A line leads below 0 where a task is nearly solved.
        left = np.where(-slopes > levels, levels / np.where(slopes < 0, -slopes, 1.0), 1.0)
        return Falls(
            falls=np.where(fitted, -slopes * left, nothing),
            errors=np.where(fitted, errors * left, nothing),
            levels=np.where(fitted, levels, nothing),
            freedom=freedom,
        )

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit. Seven numbers a task for each of some ten
        intervals."""
        return {
            "begins": list(self._begins),
            "logs": [logs.tolist() for logs in self._logs],
            "moments": [moments.tolist() for moments in self._moments],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._begins = list(state["begins"])
        self._logs = [np.array(logs) for logs in state["logs"]]
        self._moments = [np.array(moments) for moments in state["moments"]]
