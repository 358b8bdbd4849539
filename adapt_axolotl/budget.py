"""The token budget: what it is, and the ledger that keeps to it.

K tasks. The unit is the supervised token: a label other than -100.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.pools import TaskPools

_PERCENT = re.compile(r"\s*([0-9.eE+_-]+)\s*%\s*")
_REMEDY = "write a share such as 5% or a number of supervised tokens such as 200_000"


@dataclass(frozen=True)
class TokenBudget:
    """A number of supervised tokens, or a share of those in the training pools."""

    tokens: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, value: object) -> TokenBudget:
        """From a recipe: `5%`, `200_000`, `2e5`.

        Raises:
            ValueError: not positive, over 100 %, not whole, or not a number.
        """
        percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        number = _number(percent.group(1) if percent else value)
        if number is None:
            raise ValueError(f"{value!r} is not an amount; {_REMEDY}")
        if number <= 0:
            raise ValueError(f"{value!r} buys no training step; {_REMEDY}")
        if percent:
            if number > 100:
                raise ValueError(
                    f"{value!r} is more than there is; 100% is every supervised token once"
                )
            return cls(share=number / 100)
        if number != int(number):
            raise ValueError(
                f"{value!r} is not a whole number of tokens; for a share of those available "
                f"write a percentage, such as {number:.0%}"
            )
        return cls(tokens=int(number))

    def resolve(self, available: int) -> int:
        """The budget in tokens, where `available` is the sum over the training pools.

        Raises:
            ValueError: more tokens than there are.
        """
        if self.share is not None:
            # A small epsilon keeps 7% of 100 at 7 where the product is 7.000000000000001 or 6.99...
            return int(available * self.share + 1e-9)
        assert self.tokens is not None
        if self.tokens > available:
            raise ValueError(
                f"adapt.token_budget: {self.tokens:,} is more than the {available:,} supervised "
                "tokens of the training pools; write at most that, or 100%"
            )
        return self.tokens


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.replace("_", "") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


class TokenLedger:
    """Every supervised token of a run: reserved when drawn, used when it changed the weights.

    used + reserved (+ meta tokens, if they are charged) never exceeds the budget.

    Args:
        pools: the training rows.
        budget: supervised tokens that may be spent.
        charge_meta_tokens: count the tokens of meta steps against the budget too.
    """

    def __init__(self, pools: TaskPools, budget: int, *, charge_meta_tokens: bool = False) -> None:
        self.pools = pools
        self.budget = budget
        self._charge_meta = charge_meta_tokens
        self._tokens = np.zeros(len(pools.tasks), dtype=np.int64)
        self._examples = np.zeros(len(pools.tasks), dtype=np.int64)
        self._reserved = 0
        self.meta_tokens = 0
        self.steps = 0

    @property
    def used(self) -> int:
        """Supervised tokens of finished optimizer steps."""
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
            "meta_tokens": self.meta_tokens,
            "meta_tokens_charged": self._charge_meta,
            "steps": self.steps,
            "tasks": {
                name: {
                    "tokens": int(self._tokens[k]),
                    "examples": int(self._examples[k]),
                    "available": int(available[k]),
                    "rows": int(rows[k]),
                    "repeats": float(self._examples[k] / rows[k]),
                }
                for k, name in enumerate(self.pools.tasks)
            },
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "tokens": self._tokens.tolist(),
            "examples": self._examples.tolist(),
            "reserved": self._reserved,
            "meta_tokens": self.meta_tokens,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._tokens = np.array(state["tokens"], dtype=np.int64)
        self._examples = np.array(state["examples"], dtype=np.int64)
        self._reserved = state["reserved"]
        self.meta_tokens = state["meta_tokens"]
        self.steps = state["steps"]
