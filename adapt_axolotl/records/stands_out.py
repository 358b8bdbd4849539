"""In a sentence: how far what a learned run measured of its tasks stands out from noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Of sqrt(Q / (K - 1)), which is 1 for noise alone: below it, chance makes as much in 5 of 100 runs
# of twenty tasks; with few tasks in more.
BEYOND = 1.3

# Deviations, in standard errors, from which a task is named, and how many are.
NAMED_FROM = 2.0
NAMED = 3


def stands_out(history: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for people, from the lines of `history.jsonl`; empty for a static run, and where
    records of an older version do not tell."""
    told = [line for line in history if line.get("estimator") and "over_noise" in line]
    if not told:
        return ""
    # Where the losses have stopped falling nothing is measured any more, and the mixture stays.
    measured = [line for line in told if line["over_noise"] is not None]
    if not measured:
        return (
            "Too little was measured to tell the tasks from noise, so the mixture is what it "
            "started with or chance."
        )
    last = measured[-1]
    over = last["over_noise"]
    if over < BEYOND:
        return (
            f"What was measured of the tasks does not stand out from noise ({over:.1f}; noise "
            "alone is 1.0)."
        )
    known = {name: value for name, value in last["deviations"].items() if value is not None}
    ordered = sorted(known, key=lambda name: -abs(known[name]))
    named = [name for name in ordered if abs(known[name]) >= NAMED_FROM][:NAMED]
    distances = [f"{name} ({_distance(known[name], name == named[0])})" for name in named]
    most = f"; most for {', '.join(distances)}" if named else ""
    return f"What was measured of the tasks differs {over:.1f} times as much as noise alone{most}."


def _distance(deviation: float, first: bool) -> str:
    """In words, with unit and reference at the first one of a sentence."""
    size, side = f"{abs(deviation):.1f}", "above" if deviation > 0 else "below"
    return f"{size} standard errors {side} the mean" if first else f"{size} {side}"
