"""The amount of a token budget, as a recipe writes it. The unit is the supervised token: a label
other than -100."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_PERCENT = re.compile(r"\s*([0-9.eE+_-]+)\s*%\s*")
_REMEDY = "write a share such as 5% or a number of supervised tokens such as 200_000"


@dataclass(frozen=True)
class TokenBudget:
    """A number of supervised tokens, or a share of those in the training pools. More than they hold
    is several passes over the data: rows then repeat, by the mixture."""

    tokens: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, value: object) -> TokenBudget:
        """From a recipe: `5%`, `200_000`, `2e5`.

        Raises:
            ValueError: not positive, not whole, or not a number.
        """
        percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        number = _number(percent.group(1) if percent else value)
        if number is None:
            raise ValueError(f"{value!r} is not an amount; {_REMEDY}")
        if number <= 0:
            raise ValueError(f"{value!r} buys no training step; {_REMEDY}")
        if percent:
            return cls(share=number / 100)
        if number != int(number):
            raise ValueError(
                f"{value!r} is not a whole number of tokens; for a share of those available "
                f"write a percentage, such as {number:.0%}"
            )
        return cls(tokens=int(number))

    def resolve(self, available: int) -> int:
        """The budget in tokens, where `available` is the sum over the training pools."""
        if self.share is not None:
            # A small epsilon keeps 7% of 100 at 7 where the product is 7.000000000000001 or 6.99...
            return int(available * self.share + 1e-9)
        assert self.tokens is not None
        return self.tokens


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.replace("_", "") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
