"""How long cells of the study take: from what those that are done have taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from study_grid import Cell

# Seconds of one core, as first measured: imports, test rows and records; then tokens, which
# includes the losses on the way.
FIXED = 18.0
PER_TOKEN = 0.63e-3
# DoGE measures gradients: 4 % of the time by its schedule.


@dataclass
class Costs:
    """Estimates that follow what is measured.

    Attributes:
        natural_tokens: supervised ones that budgets are shares of.
        measured: cells that are done -> their seconds.
    """

    natural_tokens: int
    measured: dict[Cell, float] = field(default_factory=dict)

    def first_guess(self, cell: Cell) -> float:
        """Seconds without any measurement; they grow with the tokens."""
        return FIXED + PER_TOKEN * cell.budget * self.natural_tokens

    def seconds(self, cell: Cell) -> float:
        """What a cell takes: the first guess times the ratio by which those of its arm missed
        theirs; of all arms where none of its own is done."""
        own = {one: took for one, took in self.measured.items() if one.arm == cell.arm}
        return self._ratio(own or self.measured) * self.first_guess(cell)

    def left(self, cells: Iterable[Cell], workers: int) -> float:
        """Seconds until these are done, by so many at a time."""
        return sum(self.seconds(cell) for cell in cells) / workers

    def _ratio(self, measured: Mapping[Cell, float]) -> float:
        if not measured:
            return 1.0
        return sum(measured.values()) / sum(self.first_guess(cell) for cell in measured)


def said(seconds: float) -> str:
    """As people say it: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
