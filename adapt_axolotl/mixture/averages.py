"""The average of a moving mixture, weighted by the tokens that were trained under it. K tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class TokenAverage:
    """sum_t tokens_t p_t / sum_t tokens_t."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._sum = np.zeros(len(tasks))
        self._tokens = 0

    def add(self, proportions: np.ndarray, tokens: int) -> None:
        """Count `tokens` tokens trained under these (K,) proportions."""
        self._sum = self._sum + tokens * proportions
        # A numpy count would not go into JSON.
        self._tokens += int(tokens)

    def average(self) -> np.ndarray:
        """(K,) on the simplex; uniform before anything was added."""
        if self._tokens == 0:
            return np.full(len(self._sum), 1 / len(self._sum))
        return self._sum / self._tokens

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum.tolist(), "tokens": self._tokens}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert len(state["sum"]) == len(self._sum), "an average over another number of tasks"
        self._sum = np.array(state["sum"], dtype=np.float64)
        self._tokens = state["tokens"]
