"""What the search for static mixtures found in each regime of the study. K tasks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from signal_tables import Line, lines
from static_search import PROPOSED, RANDOM, best, reached

FILE = Path(__file__).parents[1] / "docs" / "measured" / "study_search.jsonl"
REGIMES = ("natural", "balanced", "noise", "duplicates")  # those searched so far


def rows_of(regime: str) -> str:
    """The regime whose search serves it: `targets` has the rows of `natural`."""
    return "natural" if regime == "targets" else regime


def arms(regime: str) -> list[str]:
    """The runs of the search in a regime, each behind those that it needs."""
    goals = ("mean", "worst quarter", *(("targets",) if regime == "natural" else ()))
    proposed = sorted((number, name) for name, (goal, number) in PROPOSED.items() if goal in goals)
    return ["uniform", *RANDOM, *(name for _, name in proposed)]


def runs_of(regime: str) -> list[Line]:
    """Those that are there."""
    return [line for line in lines(FILE) if line["regime"] == regime]


@cache
def searched(goal: str, regime: str) -> dict[str, float]:
    """Task -> its share in the best static mixture of the search.

    Raises:
        SystemExit: not all of the search has run.
    """
    rows = rows_of(regime)
    known = runs_of(rows)
    if set(arms(rows)) - {run["arm"] for run in known}:
        raise SystemExit(
            f"{FILE.name}: the search in {rows} is not whole; "
            f"run `python benchmarks/study_search.py DIR/study --regimes {rows}`"
        )
    return best(goal, known)


def best_mean_said(regime: str) -> str:
    """What the search for the least mean loss came to."""
    known = {run["arm"]: reached("mean", run) for run in runs_of(regime)}
    arm = min(known, key=lambda name: known[name])
    others = sorted(loss for name, loss in known.items() if name != "uniform")
    if arm == "uniform":
        return (
            f"In {regime} none of {len(others)} other static mixtures, {len(RANDOM)} at random "
            "and the rest proposed by how each task's loss answered to its share, had a lower mean "
            f"test loss than uniform mixing: {known[arm]:.3f}; the next had {others[0]:.3f}, those "
            f"at random {_mean(known, RANDOM):.3f} on average."
        )
    return (
        f"In {regime} the static mixture of the least mean test loss in the search has "
        f"{known[arm]:.3f}, uniform mixing {known['uniform']:.3f}."
    )


def _mean(known: dict[str, float], names: tuple[str, ...]) -> float:
    return sum(known[name] for name in names) / len(names)
