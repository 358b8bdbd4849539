"""What the study's results say, in sentences made from the verdicts of `adapt-eval compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from study_arms import FOUND, STATIC, TUNED
from study_compare import Group
from study_grid import RATES, REGIMES, TUNING_SEEDS, UNTUNED, lowest_rate, tuned_at
from study_measured import Line, Measured
from study_searched import REGIMES as SEARCHED
from study_tables import difference, percent, signed

WORDS = {"exact_match": "exact match", "loss": "loss"}


def findings(measured: Measured) -> Iterator[str]:
    """A paragraph for each regime and budget, the main comparisons first."""
    own = sorted(measured.groups, key=lambda group: group.kind != "main")
    if not own:
        yield "No two arms have a finished run of the same seed yet, so there is nothing to say."
    for group in own:
        yield paragraph(measured, group)


def paragraph(measured: Measured, group: Group) -> str:
    """Which arms did better and worse than uniform mixing, and how the learned one stands to the
    best static one."""
    kind = "main" if group.kind == "main" else "uniform"
    count = len(group.cells["uniform"])
    main = " (the main comparison)" if group.kind == "main" else ""
    place = f"{group.regime.capitalize()}, {percent(group.budget)}, {seeds(count)}{main}"
    parts = [f"**{place}.**"]
    for metric, word in WORDS.items():
        lines = measured.differences(kind, group, metric)
        parts.append(f"In {word}, against uniform mixing: {verdicts(lines)}.")
        parts += [
            f"`learned` less uniform is {difference(line)}."
            for line in lines
            if line["arm"] == "learned"
        ]
        parts += static(measured, group, metric)
    if count == 1:
        parts.append("One seed tells of these models and not of methods.")
    return " ".join(parts)


def seeds(count: int) -> str:
    """How many."""
    return "one seed" if count == 1 else f"{count} seeds"


def verdicts(lines: Sequence[Line]) -> str:
    """Arms by verdict."""
    by_verdict: dict[str, list[str]] = {}
    for line in lines:
        by_verdict.setdefault(line["verdict"], []).append(f"`{line['arm']}`")
    return "; ".join(
        f"{said(verdict)}: {', '.join(sorted(arms))}"
        for verdict, arms in sorted(by_verdict.items())
    )


def said(verdict: str) -> str:
    """A verdict in words of its own; what is in brackets of the others is in units of a score."""
    word = verdict.partition(" (")[0]
    return {
        "equivalent": "as good, a difference that matters ruled out",
        "underpowered": "no difference found, and one that matters could have been missed",
        "undecided": "no difference found",
        "at chance": "no more right than by guessing on either side",
    }.get(word, word)


def static(measured: Measured, group: Group, metric: str) -> Iterator[str]:
    """The static arm of the best mean, with which `learned` is beside it; of means alone."""
    names = [arm for arm in ("uniform", *STATIC, *FOUND) if arm in group.cells]
    if "learned" not in group.cells or len(names) < 2:
        return
    means = {
        arm: float(np.mean([run.mean(metric) for run in measured.of_arm(group, arm)]))
        for arm in (*names, "learned")
    }
    best = (max if metric == "exact_match" else min)(names, key=lambda arm: means[arm])
    yield (
        f"The static arm of the best mean is `{best}`, {means[best]:.3f}; that of `learned` is "
        f"{means['learned']:.3f}."
    )


def not_shown(measured: Measured) -> str:
    """What no run here is about."""
    known = {(cell.regime, cell.budget) for cell in measured.runs}
    parts = ["large models", "text longer than a line"]
    missing = [name for name in REGIMES if name not in {regime for regime, _ in known}]
    if missing:
        parts.append(
            f"the regime{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            "of which there are no runs yet"
        )
    searched = ", ".join(SEARCHED)
    parts.append(
        "static mixtures found by search at other budgets than 5 % or in other regimes than "
        f"{searched}"
    )
    return "; ".join(parts) + "."


def rates_said(measured: Measured) -> str:
    """Which learning rates were tuned."""
    budgets = dict.fromkeys(
        tuned_at(cell.budget) for cell in measured.runs if cell.seed not in TUNING_SEEDS
    )
    return " ".join(_rates_said(measured, budget) for budget in budgets)


def _rates_said(measured: Measured, budget: float) -> str:
    """Those of one budget, and of others that have them from it."""
    tuned = {
        cell.arm for cell in measured.runs if cell.seed in TUNING_SEEDS and cell.budget == budget
    }
    missing = [arm for arm in TUNED if arm not in tuned]
    if not tuned:
        return f"No learning rate has been tuned at {budget:.0%}: all arms have the same there."
    parts = [f"At {budget:.0%} learning rates were tuned as said below."]
    if missing:
        parts = [f"At {budget:.0%} they have not been tuned yet for {', '.join(missing)}."]
    others = {cell.learning_rate for cell in measured.losses if cell.budget == budget}
    for edge, most in ((min, "lowest"), (max, "highest")):
        rate = edge({*RATES[budget], *others})
        own = [arm for arm in TUNED if arm in tuned and measured.rates[arm, budget] == rate]
        if own:
            parts.append(f"The {most} one that was tried, {rate:g}, is that of {', '.join(own)}.")
    moved = [
        arm
        for arm in TUNED
        if arm in tuned
        and lowest_rate(arm, budget, measured.losses) not in (None, measured.rates[arm, budget])
    ]
    if moved:
        parts.append(
            "Until the first tuning runs were in, and before any reported run, the rule was the "
            "lowest mean over the seeds alone; it was changed because noise then decides at which "
            f"of two rates an arm is compared. It would have given another to {', '.join(moved)}."
        )
    for rate in sorted(others - {*RATES[budget], UNTUNED}):
        parts.append(tried(measured, budget, rate))
    return " ".join(parts)


def tried(measured: Measured, budget: float, rate: float) -> str:
    """What another rate did to the validation loss, where it was tried."""
    worse: dict[str, list[float]] = {}
    for cell, loss in measured.losses.items():
        if (cell.budget, cell.learning_rate) == (budget, rate) and cell.seed in TUNING_SEEDS:
            same = [replace(cell, learning_rate=one) for one in RATES[budget]]
            found = [measured.losses[one] for one in same if one in measured.losses]
            if found:
                worse.setdefault(cell.arm, []).append(loss - min(found))
    said = ", ".join(f"`{arm}` {signed(sum(own) / len(own))}" for arm, own in worse.items())
    return (
        f"A rate of {rate:g} was tried with the same seeds for some arms, and left out of the grid "
        f"by what it did to the validation loss, over the better of the others: {said}."
    )
