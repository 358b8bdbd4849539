"""The study in short, for the README: what each way of mixing does in one regime at one budget.
Differences and verdicts are those of the page."""

from __future__ import annotations

import numpy as np
from study_arms import ARMS, FORMS, FOUND
from study_compare import CONTROLS, Group
from study_grid import FIRST
from study_measured import Measured
from study_searched import REGIMES as SEARCHED
from study_searched import best_mean_said
from study_tables import difference, interval, percent

from adapt_common.markdown import table

MARKS = ("<!-- study: written by benchmarks/study_page.py -->", "<!-- end of the study -->")
# Which form of the objective does what, and what did it, is the page's.
LEFT_OUT = {*CONTROLS, *FORMS} - {"learned"}


def in_short(measured: Measured) -> str:
    """A line an arm; empty without runs."""
    found = [
        group
        for group in measured.groups
        if (group.regime, group.budget) == FIRST and group.kind == "all"
    ]
    if not found:
        return ""
    (group,) = found
    arms = [arm for arm in group.cells if arm not in LEFT_OUT]
    rows = [(arm, ARMS[arm].says, *cells(measured, group, arm)) for arm in arms]
    heads = ("mixture", "what it is", "loss", "worst quarter", "exact match", "tokens, all runs")
    parts = [said_above(group), table(heads, rows, {2, 3, 4, 5})]
    if group.regime in SEARCHED:
        parts.append(best_mean_said(group.regime))
    parts += elsewhere(measured)
    return "\n\n".join(parts)


def elsewhere(measured: Measured) -> list[str]:
    """The default learner beside uniform mixing, and the best static mixture that a search found,
    in all other regimes and at other budgets; nothing without runs there."""
    rows = []
    for group in measured.groups:
        here = group.kind == "all" and "learned" in group.cells
        if here and (group.regime, group.budget) != FIRST:
            uniform, learned = (cells(measured, group, arm)[:3] for arm in ("uniform", "learned"))
            pairs = [cell for pair in zip(uniform, learned, strict=True) for cell in pair]
            where = f"{group.regime}, {percent(group.budget)}"
            rows.append(
                (where, str(len(group.cells["uniform"])), *pairs, searched(measured, group))
            )
    if not rows:
        return []
    heads = (
        *("tasks and budget", "seeds"),
        *("uniform: loss", "learned", "worst quarter", "learned", "exact match", "learned"),
        "loss of the best static found by search",
    )
    return [
        "The default learner elsewhere, less uniform mixing; what the regimes are is "
        "[in the study](docs/study.md#what-is-compared), and that a search knows there which tasks "
        "are noise or copies:",
        table(heads, rows, set(range(1, 9))),
    ]


def searched(measured: Measured, group: Group) -> str:
    """The loss of the best static mixture that a search found; empty without one."""
    losses = {
        arm: float(np.mean([run.mean("loss") for run in measured.of_arm(group, arm)]))
        for arm in FOUND
        if arm in group.cells
    }
    return cells(measured, group, min(losses, key=losses.__getitem__))[0] if losses else ""


def said_above(group: Group) -> str:
    """What the table is of."""
    seeds = ", ".join(str(cell.seed) for cell in group.cells["uniform"])
    missing = [arm for arm in group.unfinished if arm not in LEFT_OUT]
    lacking = f" Not there yet: {', '.join(missing)}." if missing else ""
    return (
        f"Twenty tasks, {percent(group.budget)} of their tokens, seeds {seeds}. Loss of the test "
        "rows, over all tasks and over the worst quarter of them, and exact match: of `uniform` "
        "what it is, of the others how far they are from that, with intervals at 95 %; `better` "
        "and `worse` are after correction over all arms, and nothing is claimed of the worst "
        f"quarter, whose intervals are over seeds alone.{lacking}"
    )


def cells(measured: Measured, group: Group, arm: str) -> list[str]:
    """Mean loss, worst quarter, exact match and tokens."""
    runs, baseline = (measured.of_arm(group, one) for one in (arm, "uniform"))
    spent = tokens(measured, group, arm) / tokens(measured, group, "uniform")
    if arm == "uniform":
        means = [[run.mean("loss"), run.worst_quarter, run.mean("exact_match")] for run in runs]
        return [*(f"{value:.3f}" for value in np.mean(means, axis=0)), f"{spent:.1f}"]
    over = {
        metric: next(
            line for line in measured.differences("uniform", group, metric) if line["arm"] == arm
        )
        for metric in ("loss", "exact_match")
    }
    worst = [
        run.worst_quarter - base.worst_quarter for run, base in zip(runs, baseline, strict=True)
    ]
    return [
        difference(over["loss"]),
        interval(worst, sign="+"),
        difference(over["exact_match"]),
        f"{spent:.1f}",
    ]


def tokens(measured: Measured, group: Group, arm: str) -> float:
    """Supervised tokens, those measured and those of runs before included; mean over seeds."""
    first = [run.tasks[0] for run in measured.of_arm(group, arm)]
    return float(
        np.mean([one["run_tokens"] + one["meta_tokens"] + one["tokens_before"] for one in first])
    )
