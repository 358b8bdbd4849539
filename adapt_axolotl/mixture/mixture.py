"""What a run asks of any mixture, static or learned."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Mixture(Protocol):
    """Proportions over K tasks."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The K names."""

    @property
    def proportions(self) -> np.ndarray:
        """(K,) in force for the next draw, on the simplex."""
