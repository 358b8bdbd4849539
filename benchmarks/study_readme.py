"""The study in short, for the README: what each way of mixing does at the budget and in the regime
that learning rates were chosen on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from study_arms import ARMS
from study_compare import Group
from study_grid import TUNED_ON
from study_measured import Measured, Run
from study_tables import interval, percent

from adapt_common.markdown import table

MARKS = ("<!-- study: written by benchmarks/study_page.py -->", "<!-- end of the study -->")
# Controls say what did it, which the page has.
LEFT_OUT = ("uniform_more", "learned_mean", "learned_cvar", "learned_alpha_fair", "learned_raw")


def in_short(measured: Measured) -> str:
    """A line an arm, the lowest mean loss first; empty without runs."""
    found = [
        group
        for group in measured.groups
        if (group.regime, group.budget) == TUNED_ON and group.kind == "all"
    ]
    if not found:
        return ""
    (group,) = found
    arms = [arm for arm in group.cells if arm not in LEFT_OUT and not arm.startswith("replay_")]
    runs = {arm: measured.of_arm(group, arm) for arm in arms}
    spent = {arm: tokens(measured, group, arm) for arm in arms}
    rows = [
        (
            f"`{arm}`, {ARMS[arm].says}" if arm != "uniform" else "`uniform`, equal shares",
            *cells(runs[arm], runs["uniform"], arm == "uniform"),
            f"{spent[arm] / spent['uniform']:.1f}",
        )
        for arm in sorted(arms, key=lambda arm: np.mean([r.mean("loss") for r in runs[arm]]))
    ]
    heads = ("mixture", "mean loss", "worst quarter", "exact match", "tokens, all runs")
    count = len(group.cells["uniform"])
    said = (
        f"Twenty tasks, {percent(group.budget)} of their tokens, {count} seeds, learning rates "
        "tuned. Loss of the test rows, mean over tasks and over the worst quarter of them, and "
        "exact match: of `uniform` the values, of the others the difference to it with its 95 % "
        "interval."
    )
    return f"{said}\n\n{table(heads, rows, {1, 2, 3, 4})}"


def cells(runs: Sequence[Run], baseline: Sequence[Run], itself: bool) -> list[str]:
    """Mean loss, worst quarter and exact match."""
    values = [
        [(run.mean("loss"), run.worst_quarter, run.mean("exact_match")) for run in own]
        for own in (runs, baseline)
    ]
    own, base = (np.array(one) for one in values)
    if itself:
        return [f"{value:.3f}" for value in own.mean(axis=0)]
    return [interval(column, sign="+") for column in (own - base).T.tolist()]


def tokens(measured: Measured, group: Group, arm: str) -> float:
    """Supervised tokens, those measured and those of runs before included; mean over seeds."""
    first = [run.tasks[0] for run in measured.of_arm(group, arm)]
    return float(
        np.mean([one["run_tokens"] + one["meta_tokens"] + one["tokens_before"] for one in first])
    )
