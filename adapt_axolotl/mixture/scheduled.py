"""Static mixtures that change over a run as its recipe says, whatever is measured. K tasks.

`progress` is the share of the run that has been drawn, 0 to 1, before the block that is drawn next.
So a change comes with the first optimizer step that begins after it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from adapt_axolotl.mixture.static import static_proportions


class Schedule(Protocol):
    """Proportions by progress."""

    def at(self, progress: float) -> np.ndarray:
        """(K,) on the simplex."""

    def ever(self) -> np.ndarray:
        """(K,) bool: tasks that have a share at some time."""

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on with the same mixtures."""


@dataclass(frozen=True, eq=False)
class Phases:
    """One mixture after another.

    Attributes:
        ends: (P,) progress at which each phase ends, ascending; the last is 1.
        shares: (P, K).
    """

    ends: np.ndarray
    shares: np.ndarray

    def at(self, progress: float) -> np.ndarray:
        phase = int(np.searchsorted(self.ends, progress, side="right"))
        shares: np.ndarray = self.shares[min(phase, len(self.ends) - 1)]
        return shares

    def ever(self) -> np.ndarray:
        return np.asarray((self.shares > 0).any(axis=0))

    def fingerprint(self) -> dict[str, Any]:
        return {"ends": self.ends.tolist(), "shares": self.shares.tolist()}


@dataclass(frozen=True, eq=False)
class Cooling:
    """Mixing by temperature, which goes evenly from one value to another.

    Attributes:
        available: (K,) how much each task has.
        first: the temperature at progress 0.
        last: at progress 1.
        own: (K,) shares that tasks have whatever the temperature; 0 for those that it is for.
    """

    available: np.ndarray
    first: float
    last: float
    own: np.ndarray

    def at(self, progress: float) -> np.ndarray:
        temperature = self.first + (self.last - self.first) * progress
        shares, by_size = self.own.copy(), self.own == 0
        sizes = self.available[by_size].tolist()
        rest = static_proportions("temperature", sizes, temperature=temperature)
        shares[by_size] = (1 - self.own.sum()) * rest
        return shares

    def ever(self) -> np.ndarray:
        return np.ones(len(self.own), dtype=bool)

    def fingerprint(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last}


@dataclass(frozen=True, eq=False)
class ScheduledMixture:
    """A mixture that follows a schedule.

    Attributes:
        tasks: the K names.
        schedule: what it follows.
        progress: of now.
    """

    tasks: tuple[str, ...]
    schedule: Schedule
    progress: Callable[[], float]

    @property
    def proportions(self) -> np.ndarray:
        """(K,) in force for the next draw."""
        return self.schedule.at(self.progress())
