"""The ledger of a run's supervised tokens (labels other than -100). K tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapt_axolotl.data.pools import TaskPools


class TokenLedger:
    """Every supervised token of a run: reserved when drawn, used when it changed the weights, or
    given back to the budget where the optimizer skipped the step.

    used + reserved (+ meta tokens, if they are charged) never exceeds the budget.

    Args:
        pools: the training rows.
        budget: supervised tokens that may be spent.
        charge_meta_tokens: count the tokens of meta steps against the budget too.

    Attributes:
        steps: optimizer steps, those that were skipped included.
        skipped_tokens: of skipped steps; they count against nothing.
        meta_tokens: of meta steps.
    """

    def __init__(self, pools: TaskPools, budget: int, *, charge_meta_tokens: bool = False) -> None:
        self.pools = pools
        self.budget = budget
        self._charge_meta = charge_meta_tokens
        self._tokens = np.zeros(len(pools.tasks), dtype=np.int64)
        self._examples = np.zeros(len(pools.tasks), dtype=np.int64)
        self._skipped = np.zeros(len(pools.tasks), dtype=np.int64)
        self._reserved = 0
        self.skipped_tokens = 0
        self.meta_tokens = 0
        self.steps = 0

    @property
    def examples_of_tasks(self) -> np.ndarray:
        """(K,) rows that have changed the weights."""
        return self._examples.copy()

    @property
    def seen_of_tasks(self) -> np.ndarray:
        """(K,) rows that training has gone through, those of skipped steps included."""
        seen: np.ndarray = self._examples + self._skipped
        return seen

    @property
    def tokens_of_tasks(self) -> np.ndarray:
        """(K,) supervised tokens that have changed the weights."""
        return self._tokens.copy()

    @property
    def used(self) -> int:
        """Supervised tokens that have changed the weights."""
        return int(self._tokens.sum())

    @property
    def charged(self) -> int:
        """What counts against the budget so far."""
        return self.used + (self.meta_tokens if self._charge_meta else 0)

    @property
    def free(self) -> int:
        """What may still be reserved."""
        return self.budget - self.charged - self._reserved

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, self.charged / self.budget)

    def reserve(self, rows: Sequence[int]) -> bool:
        """Set the tokens of a drawn block aside; False, and nothing changes, if they don't fit."""
        tokens = int(self.pools.supervised_tokens[rows].sum())
        if tokens > self.free:
            return False
        self._reserved += tokens
        return True

    def commit(self, rows: Sequence[int]) -> None:
        """Book a reserved block as used: its optimizer step is done."""
        tokens = self.pools.supervised_tokens[rows]
        tasks = self.pools.task_of_row[rows]
        self._reserved -= int(tokens.sum())
        np.add.at(self._tokens, tasks, tokens)
        np.add.at(self._examples, tasks, 1)
        self.steps += 1
        assert self._reserved >= 0
        assert self.charged + self._reserved <= self.budget

    def skip(self, rows: Sequence[int]) -> None:
        """Give a reserved block back to the budget: the optimizer skipped its step."""
        tokens = int(self.pools.supervised_tokens[rows].sum())
        np.add.at(self._skipped, self.pools.task_of_row[rows], 1)
        self._reserved -= tokens
        self.skipped_tokens += tokens
        self.steps += 1
        assert self._reserved >= 0

    def spend_on_meta_step(self, tokens: int) -> bool:
        """Book the tokens of a meta step; False, and nothing changes, if they are charged and do
        not fit beside what is reserved for training."""
        if self._charge_meta and tokens > self.free:
            return False
        self.meta_tokens += tokens
        return True

    def report(self) -> dict[str, Any]:
        """The content of `ledger.json`."""
        available, rows = self.pools.available_tokens, self.pools.rows_of_task
        return {
            "unit": "supervised_tokens",
            "budget": self.budget,
            "used": self.used,
            "left": self.budget - self.charged,
            "skipped_tokens": self.skipped_tokens,
            "meta_tokens": self.meta_tokens,
            "meta_tokens_charged": self._charge_meta,
            "steps": self.steps,
            "tasks": {
                name: {
                    "tokens": int(self._tokens[k]),
                    "examples": int(self._examples[k]),
                    "available": int(available[k]),
                    "rows": int(rows[k]),
                    "repeats": float(self._examples[k] / max(1, rows[k])),
                }
                for k, name in enumerate(self.pools.tasks)
            },
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "tokens": self._tokens.tolist(),
            "examples": self._examples.tolist(),
            "skipped": self._skipped.tolist(),
            "reserved": self._reserved,
            "skipped_tokens": self.skipped_tokens,
            "meta_tokens": self.meta_tokens,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._tokens = np.array(state["tokens"], dtype=np.int64)
        self._examples = np.array(state["examples"], dtype=np.int64)
        none = [0] * len(self._examples)  # older checkpoints lack it
        self._skipped = np.array(state.get("skipped", none), dtype=np.int64)
        self._reserved = state["reserved"]
        self.skipped_tokens = state.get("skipped_tokens", 0)  # older checkpoints lack it
        self.meta_tokens = state["meta_tokens"]
        self.steps = state["steps"]
