"""The type of all objectives, and the tasks that they are over. K tasks.

An objective folds utilities U of the tasks' validation losses V into one number that is to fall.
Its derivative by V is the weight of grad V_k in the meta-gradient, and of the fall of V_k where
falls are measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """One objective.

    Attributes:
        name: its key in a recipe.
        targets: (K,) bool, the tasks that alone count, or None for all.
        weights: (K,) above 0: a task of weight 2 counts as two tasks alike would; None for all
            alike.
        smoothing: share of the old value in the running average of V that U is taken from.
    """

    name: str
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    smoothing: float = 0.0

    def counts(self, tasks: np.ndarray) -> np.ndarray:
        """(K,) bool: those of these tasks, (K,) bool, that the objective is over."""
        return tasks if self.targets is None else tasks & self.targets

    def over(self, tasks: np.ndarray) -> Self:
        """The same objective over some of the tasks, all of which count. tasks: (K,) bool."""
        weights = None if self.weights is None else self.weights[tasks]
        return replace(self, targets=None, weights=weights)

    def parts(self, count: int) -> np.ndarray:
        """(count,) on the simplex: the tasks' parts of a mean over them, 1/K without weights."""
        if self.weights is None:
            return np.full(count, 1 / count)
        return self.weights / self.weights.sum()

    @abstractmethod
    def value(self, losses: np.ndarray, first_losses: np.ndarray) -> float:
        """The objective at (smoothed) losses V (K,) after first losses V0 (K,), over all K."""

    @abstractmethod
    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """(K,) weight of grad V_k: the derivative of `value` by V, except where a class says so. A
        smoothed V counts as V, so that the smoothing does not shrink it."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The recipe's keys that it reads, with their values: a checkpoint goes on with the same
        ones only."""
