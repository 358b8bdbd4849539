"""Validation losses as they come in, and the weights that an objective gives their gradients.
K tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adapt_axolotl.mixture.bounds import Bounds
from adapt_axolotl.mixture.nan_as_null import as_array, as_list
from adapt_axolotl.mixture.objectives.objective import Objective

# Nats a token. A task below it at the start has nothing left to learn; over a smaller first loss,
# its least rise would look like the worst case and v would point at nothing else (ours).
LEAST_FIRST_LOSS = 0.01

# The square of anything larger is infinite, and so is what comes of it.
LARGEST = 1e150


class ObservedLosses:
    """The losses V of K tasks so far.

    Args:
        objective: what they are folded into.
        count: K.
        bounds: on the losses of tasks that the objective is not over, or None.

    Attributes:
        last: (K,) V as last measured; NaN before, and where it was not finite.
        skipped: (K,) how often it was not finite.
    """

    def __init__(self, objective: Objective, count: int, bounds: Bounds | None = None) -> None:
        self.bounds = bounds
        self.last = np.full(count, np.nan)
        self.skipped = np.zeros(count, dtype=np.int64)
        self._objective = objective
        self._first = np.full(count, np.nan)
        self._smoothed = np.full(count, np.nan)

    @property
    def usable(self) -> np.ndarray:
        """(K,) bool: the last loss is finite."""
        usable: np.ndarray = np.isfinite(self.last)
        return usable

    @property
    def counted(self) -> np.ndarray:
        """(K,) bool: the tasks that the objective is over, or that a bound holds."""
        counted = self._objective.counts(np.ones(len(self.last), dtype=bool))
        return counted if self.bounds is None else counted | np.isfinite(self.bounds.bounds)

    @property
    def weights(self) -> np.ndarray:
        """(K,) w, the weight of grad V_k in v: 0 for tasks that the objective is not over and no
        bound holds, or whose last loss was not usable; the parts of a mean before there is any.
        """
        if np.isnan(self._smoothed).all():
            weights = np.zeros(len(self.last))
            counted = self._objective.counts(np.ones(len(self.last), dtype=bool))
            weights[counted] = self._objective.over(counted).parts(int(counted.sum()))
            return weights
        weights, counted = np.zeros(len(self.last)), self._objective.counts(self.usable)
        if counted.any():
            part = self._objective.over(counted)
            weights[counted] = part.derivative(self._smoothed[counted], self._first[counted])
        if self.bounds is not None:
            weights += np.where(self.usable, self.bounds.weights, 0.0)
        return weights

    def observe(
        self, losses: np.ndarray, measured: np.ndarray, expected: np.ndarray | None = None
    ) -> None:
        """Take in losses. A task whose loss is not finite is left out until it is measured again,
        and counted.

        Args:
            losses: (K,) V.
            measured: (K,) bool, which of them are news.
            expected: (K,) at the end of the run, which bounds go by; None where that is not known,
                and they go by V.
        """
        usable = measured & (np.abs(losses) < LARGEST)
        self.skipped = self.skipped + (measured & ~usable)
        self.last = np.where(measured, np.where(usable, losses, np.nan), self.last)
        first = usable & np.isnan(self._first)
        if self.bounds is not None:
            # The first losses say nothing yet of what the mixture does.
            self.bounds.ascend(losses if expected is None else expected, usable & ~first)
        self._first = np.where(first, np.maximum(self.last, LEAST_FIRST_LOSS), self._first)
        keep = np.where(np.isnan(self._smoothed), 0.0, self._objective.smoothing)
        blended = keep * np.nan_to_num(self._smoothed) + (1 - keep) * self.last
        self._smoothed = np.where(usable, blended, self._smoothed)

    def value(self) -> float:
        """The objective; NaN before there is any loss."""
        known = self._objective.counts(np.isfinite(self._smoothed))
        if not known.any():
            return float("nan")
        part = self._objective.over(known)
        return part.value(self._smoothed[known], self._first[known])

    # In a checkpoint they stand beside the state of the mixture, under the names that they always
    # had there.
    _KEYS = (("first_losses", "_first"), ("smoothed", "_smoothed"), ("losses", "last"))

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        state: dict[str, Any] = {"skipped": self.skipped.tolist()}
        for key, name in self._KEYS:
            state[key] = as_list(getattr(self, name))
        if self.bounds is not None:
            state["multipliers"] = as_list(self.bounds.multipliers)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.skipped = np.array(state["skipped"], dtype=np.int64)
        for key, name in self._KEYS:
            setattr(self, name, as_array(state[key]))
        if self.bounds is not None:
            self.bounds.multipliers = as_array(state["multipliers"])
