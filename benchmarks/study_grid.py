"""The grid of the study: which runs there are, and in which order.

A cell is one run: (regime, arm, budget, learning rate, seed). A budget is a share of the supervised
tokens of all tasks as they are, so runs of one budget are equally long in every regime.

First the learning rates: each arm on the same ones, with seeds of its own, on one regime and at
each budget that has rates of its own, by the mean validation loss over tasks. Then all arms on all
regimes and budgets, and more seeds for the main comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from study_arms import ARMS, STATIC, TUNED
from study_regimes import TARGETS
from study_searched import searched

REGIMES = ("natural", "balanced", "noise", "duplicates", "targets")
BUDGETS = (0.05, 0.01, 0.1)  # what says most in the least time comes first
SEEDS = (1, 2, 3, 4, 5)

# Budget -> the rates that are tried there. Short runs want higher ones; another budget has what was
# chosen at the nearest of these.
RATES = {0.05: (1.5e-3, 3e-3), 0.01: (1.5e-3, 3e-3, 6e-3)}
TUNED_ON = "natural"
TUNING_SEEDS = (101, 102)

# Where nothing was tuned: that of learned_signal.py.
UNTUNED = 3e-3

Rates = Mapping[tuple[str, float], float]
"""(arm, budget of `RATES`) -> learning rate."""

# What the README shows.
FIRST = ("natural", 0.05)

# The main comparison: uniform, learned, and the best of the static arms.
MAIN_REGIME, MAIN_BUDGETS, MORE_SEEDS = "natural", (0.05, 0.1), (6, 7, 8, 9, 10)

# (regime, budget, arms) that take about an hour on two cores, untuned.
SMALL = (
    ("natural", 0.05, ("uniform", "learned", "uniform_more", "temperature")),
    ("natural", 0.05, ("replay_average", "replay_permuted")),
    ("balanced", 0.05, ("uniform", "learned", "uniform_more")),
    ("natural", 0.01, tuple(name for name, arm in ARMS.items() if arm.budgets is None)),
)


@dataclass(frozen=True)
class Cell:
    """One run; `budget` is a share, `learning_rate` the highest of the run."""

    regime: str
    arm: str
    budget: float
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """Its folder below that of the study."""
        return (
            f"{self.regime}/{self.budget * 100:g}%/{self.arm}/"
            f"rate_{self.learning_rate:g}/seed_{self.seed}"
        )

    def __str__(self) -> str:
        return (
            f"{self.regime} {self.budget * 100:g}% {self.arm}, rate {self.learning_rate:g}, "
            f"seed {self.seed}"
        )


@dataclass(frozen=True)
class Filter:
    """Which cells are wanted; None leaves all. Arms and regimes are picked from the grid; budgets
    and seeds stand in the place of its own, and may be others."""

    arms: Sequence[str] | None = None
    regimes: Sequence[str] | None = None
    budgets: Sequence[float] | None = None
    seeds: Sequence[int] | None = None

    def takes(self, regime: str, arm: str) -> bool:
        """Whether a cell of these is wanted."""
        return (self.arms is None or arm in self.arms) and (
            self.regimes is None or regime in self.regimes
        )


def stands_in(arm: str, regime: str, budget: float) -> bool:
    """Whether the arm has runs of its own there."""
    own = ARMS[arm]
    return (
        (regime != "targets" or own.counts_targets)
        and (own.regimes is None or regime in own.regimes)
        and (own.budgets is None or budget in own.budgets)
    )


def tuning(wanted: Filter) -> list[Cell]:
    """The runs that choose learning rates: those of every arm that the wanted ones have theirs
    from."""
    names = ARMS if wanted.arms is None else wanted.arms
    tuned = {ARMS[name].rate_of or name for name in names}
    if "uniform_more" in names:
        tuned.add("learned")  # whose tokens it counts
    budgets = dict.fromkeys(tuned_at(budget) for budget in wanted.budgets or BUDGETS)
    return [
        Cell(TUNED_ON, arm, budget, rate, seed)
        for budget in budgets
        for arm, rate, seed in product(TUNED, RATES[budget], TUNING_SEEDS)
        if arm in tuned
    ]


def tuned_at(budget: float) -> float:
    """The budget of `RATES` nearest to it, as a ratio."""
    return min(RATES, key=lambda one: abs(math.log(budget / one)))


def rate_of(arm: str, budget: float, chosen: Rates) -> float:
    """The learning rate of an arm at a budget."""
    return chosen[arm, tuned_at(budget)]


def rates(losses: Mapping[Cell, float]) -> dict[tuple[str, float], float]:
    """The learning rates, as `Rates`. That of uniform mixing is the one of the lowest mean over the
    tuning seeds. An arm has that one too, unless the one of its own lowest mean is better with
    every seed: else noise would compare arms at two rates. `UNTUNED` for arms of which not all
    tuning runs are there.

    Args:
        losses: of tuning runs: the mean validation loss over tasks.
    """
    chosen = {}
    for budget in RATES:
        common = lowest_rate("uniform", budget, losses)
        for arm in TUNED:
            own = lowest_rate(arm, budget, losses)
            if own is None:
                own = UNTUNED
            elif common is not None and not _better(arm, budget, own, common, losses):
                own = common
            chosen[arm, budget] = own
    return {
        (name, budget): chosen[arm.rate_of or name, budget]
        for name, arm in ARMS.items()
        for budget in RATES
    }


def _tuning_losses(
    arm: str, budget: float, rate: float, losses: Mapping[Cell, float]
) -> list[float]:
    """By seed, of those that are there."""
    cells = [Cell(TUNED_ON, arm, budget, rate, seed) for seed in TUNING_SEEDS]
    return [losses[cell] for cell in cells if cell in losses]


def lowest_rate(arm: str, budget: float, losses: Mapping[Cell, float]) -> float | None:
    """That of the lowest mean over the tuning seeds; None where runs are missing."""
    own = {rate: _tuning_losses(arm, budget, rate, losses) for rate in RATES[budget]}
    if any(len(found) < len(TUNING_SEEDS) for found in own.values()):
        return None
    return min(own, key=lambda rate: sum(own[rate]))


def _better(
    arm: str, budget: float, rate: float, other: float, losses: Mapping[Cell, float]
) -> bool:
    """With every seed."""
    pairs = zip(
        _tuning_losses(arm, budget, rate, losses),
        _tuning_losses(arm, budget, other, losses),
        strict=True,
    )
    return all(one < two for one, two in pairs)


def best_static(losses: Mapping[Cell, float], chosen: Rates) -> str | None:
    """The static arm, uniform mixing aside, of the lowest loss over the tuning seeds at its rate,
    where the main comparison begins; None where not all of them were tuned."""
    budget = tuned_at(MAIN_BUDGETS[0])
    own = {arm: _tuning_losses(arm, budget, chosen[arm, budget], losses) for arm in STATIC}
    if any(len(found) < len(TUNING_SEEDS) for found in own.values()):
        return None
    return min(own, key=lambda arm: sum(own[arm]))


def grid(wanted: Filter, chosen: Rates, static: str | None) -> list[Cell]:
    """The runs that are reported, the main comparison's seeds last.

    Args:
        wanted: which of them.
        chosen: learning rates.
        static: the best static arm; None leaves it out of the main comparison.
    """
    # A regime at a time, all arms of a seed before the next one: what is there at any moment can
    # be compared.
    parts = product(wanted.budgets or BUDGETS, REGIMES, wanted.seeds or SEEDS, ARMS)
    cells = [
        Cell(regime, arm, budget, rate_of(arm, budget, chosen), seed)
        for budget, regime, seed, arm in parts
        if wanted.takes(regime, arm) and stands_in(arm, regime, budget)
    ]
    if wanted.seeds is None:
        main = [name for name in ("uniform", "learned", static) if name is not None]
        cells += [
            Cell(MAIN_REGIME, arm, budget, rate_of(arm, budget, chosen), seed)
            for budget, seed, arm in product(MAIN_BUDGETS, MORE_SEEDS, main)
            if wanted.takes(MAIN_REGIME, arm)
            and (wanted.budgets is None or budget in wanted.budgets)
        ]
    return cells


def small(wanted: Filter, chosen: Rates) -> list[Cell]:
    """The runs of `--small`."""
    return [
        Cell(regime, arm, budget, rate_of(arm, budget, chosen), seed)
        for regime, budget, arms in SMALL
        for seed in wanted.seeds or SEEDS
        for arm in arms
        if wanted.takes(regime, arm) and (wanted.budgets is None or budget in wanted.budgets)
    ]


def before(cell: Cell, chosen: Rates) -> Cell | None:
    """The cell whose run this one comes from; None without one."""
    arm = ARMS[cell.arm]
    if arm.needs is None:
        return None
    # It is trained as the one that it serves; but the learner that measured is the reported one.
    rate = cell.learning_rate if arm.key else rate_of(arm.needs, cell.budget, chosen)
    return Cell(cell.regime, arm.needs, cell.budget, rate, cell.seed)


def in_order(cells: Iterable[Cell], chosen: Rates) -> list[Cell]:
    """The cells, each once, and behind those that they need, which may be none of them."""
    ordered: dict[Cell, None] = {}

    def add(cell: Cell) -> None:
        needed = before(cell, chosen)
        if needed is not None:
            add(needed)
        ordered.setdefault(cell)

    for cell in cells:
        add(cell)
    return list(ordered)


def block(cell: Cell, tokens: int, earlier: Path | None) -> dict[str, Any]:
    """`adapt:` of a cell, as a recipe has it.

    Args:
        cell: it.
        tokens: supervised ones that it may train on.
        earlier: folder of the run that it comes from.
    """
    arm = ARMS[cell.arm]
    adapt: dict[str, Any] = {"token_budget": tokens, **arm.block}
    if arm.key:
        adapt[arm.key] = str(earlier)
    if arm.found_for is not None:
        adapt["weights"] = searched(arm.found_for, cell.regime)
    if cell.regime == "targets" and adapt["mixture"] in ("learned", "doge"):
        adapt["learned"] = {**adapt.get("learned", {}), "targets": list(TARGETS)}
    return adapt
