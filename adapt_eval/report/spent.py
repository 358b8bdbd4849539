"""Scores against what training cost: is a run better, or only later?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt_eval.comparison.schema import Comparison


@dataclass(frozen=True)
class Point:
    """A run: its cost, its score from 0 to 1, and the scores of its seeds where it has several."""

    run: str
    cost: float
    score: float
    seeds: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """All runs against one kind of cost, in the order in which they were given."""

    label: str
    points: Sequence[Point]


def panels(result: Comparison, seconds: Mapping[str, float | None]) -> list[Panel]:
    """Against tokens, and against wall time where all runs tell it of which tokens are known.

    Args:
        seconds: run -> wall time of its training, None where it is not known.

    Returns:
        Nothing where fewer than two runs have a ledger.
    """
    known = {run: one for run, one in result.tokens.items() if one is not None}
    if len(known) < 2:
        return []
    minutes = {run: one / 60 for run in known if (one := seconds.get(run)) is not None}
    costs = [("training tokens that changed the weights", {r: o.used for r, o in known.items()})]
    if len(minutes) == len(known):
        costs.append(("wall time of training, minutes", minutes))
    seeds = {run: many if len(many) > 1 else [] for run, many in result.seed_scores.items()}
    return [
        Panel(label, [Point(run, cost[run], one.score, seeds[run]) for run, one in known.items()])
        for label, cost in costs
    ]
