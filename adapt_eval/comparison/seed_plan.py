"""What it takes to find a difference of a wanted size between two ways of training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adapt_eval.comparison.against import Against
from adapt_eval.comparison.schema import Figures, PlannedSeeds
from adapt_eval.statistics.paired import Estimate
from adapt_eval.statistics.planning import Parts, parts_assumed, parts_of

# Times the items at hand. No benchmark can be made longer; one can be measured whole instead of
# with --limit, and more benchmarks be added.
MORE_ITEMS = (1, 2, 4)
ASSUMED = (0.005, 0.01, 0.02)


def seed_plan(run: str, found: Against, effect: float) -> list[PlannedSeeds]:
    """Lines for the suite and for each benchmark.

    Args:
        run: name of the arm.
        effect: the difference to be found in 4 of 5 cases by a test at 5 %, not corrected.
    """
    lines = _lines(run, "the suite", found.suite, list(found.levels), found, effect)
    for one in found.benchmarks:
        tasks = [one.task] if found.levels else []
        lines += _lines(run, one.task, one, tasks, found, effect)
    return lines


def _lines(
    run: str, what: str, one: Figures, tasks: Sequence[str], found: Against, effect: float
) -> list[PlannedSeeds]:
    if math.isnan(one.planning_error) or one.df < 1:
        return []
    if tasks:
        parts = parts_of([found.levels[task] for task in tasks])
        sides = 1 if parts.paired else 2
        return [_line(run, what, one, parts, math.sqrt(parts.seeds / sides), False, effect)]
    error = Estimate(one.difference, one.planning_error, one.df, one.n)
    return [
        _line(run, what, one, parts_assumed(error, deviation), deviation, True, effect)
        for deviation in ASSUMED
    ]


def _line(
    run: str,
    what: str,
    one: Figures,
    parts: Parts,
    deviation: float,
    assumed: bool,
    effect: float,
) -> PlannedSeeds:
    return PlannedSeeds(
        run=run,
        what=what,
        items=one.n,
        seed_deviation=deviation,
        assumed=assumed,
        paired=parts.paired,
        item_error=math.sqrt(parts.items),
        seeds={str(more): parts.seeds_for(effect, more) for more in MORE_ITEMS},
    )
