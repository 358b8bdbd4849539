"""Tables of the study as Markdown, from the committed ones.

Means and intervals of one arm are over its seeds (`adapt_eval.statistics.paired`); differences are
those that `adapt-eval compare` found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from study_arms import ARMS, FORMS
from study_compare import Group
from study_measured import Line, Measured, Run
from study_metrics import READ

from adapt_common.markdown import table
from adapt_eval.statistics.paired import estimate


def interval(values: Sequence[float], digits: int = 3, sign: str = "") -> str:
    """Mean over seeds, with a 95 % interval where there are several; sign: `+` for differences."""
    found = estimate(np.array(values, dtype=float))

    def shown(value: float) -> str:
        return f"{round(value, digits) + 0.0:{sign}.{digits}f}"

    if found.n < 2:
        return shown(found.mean)
    low, high = found.interval()
    return f"{shown(found.mean)} [{shown(low)}, {shown(high)}]"


def signed(value: float) -> str:
    """Three digits; nothing is below 0 by rounding."""
    return f"{round(value, 3) + 0.0:+.3f}"


def difference(line: Line | None) -> str:
    """As `adapt-eval compare` found it, in shares or in nats."""
    if line is None:
        return ""
    read_as = READ[line["metric"]]
    low, high = sorted((read_as(line["ci_low"]), read_as(line["ci_high"])))
    said = f"{signed(read_as(line['difference']))} [{signed(low)}, {signed(high)}]"
    return said + (f" {line['verdict']}" if line["verdict"] in ("better", "worse") else "")


def results(measured: Measured, group: Group) -> str:
    """What the arms of a group reached."""
    baseline = measured.of_arm(group, "uniform")
    over = {
        metric: {line["arm"]: line for line in measured.differences("uniform", group, metric)}
        for metric in READ
    }
    rows = []
    for arm in group.cells:
        runs = measured.of_arm(group, arm)
        worst = [one.worst_quarter for one in runs]
        less = [one - base.worst_quarter for one, base in zip(worst, baseline, strict=True)]
        rank = over["exact_match"].get(arm)
        rows.append(
            (
                arm,
                interval([run.mean("exact_match") for run in runs]),
                difference(rank),
                interval([run.mean("loss") for run in runs]),
                difference(over["loss"].get(arm)),
                interval(worst),
                "" if arm == "uniform" else interval(less),
                ranks(rank),
            )
        )
    return table(
        (
            *("arm", "exact match", "over uniform", "loss", "over uniform"),
            *("worst quarter", "over uniform", "rank"),
        ),
        rows,
        set(range(1, 8)),
    )


# What a form of the objective is about -> of a run.
FORMS_ASK: dict[str, Callable[[Run], float]] = {
    "mean loss": lambda run: run.mean("loss"),
    "worst quarter": lambda run: run.worst_quarter,
    "worst task": lambda run: run.worst_task,
    "exact match": lambda run: run.mean("exact_match"),
}


def forms(measured: Measured, group: Group) -> str:
    """What the forms of ADAPT's objective did, less uniform mixing, by Student over seeds; empty
    where there is one form alone."""
    baseline = measured.of_arm(group, "uniform")
    rows = [
        (
            arm,
            *(
                interval([ask(run) - ask(base) for run, base in zip(runs, baseline, strict=True)])
                for ask in FORMS_ASK.values()
            ),
        )
        for arm in FORMS
        if arm in group.cells and (runs := measured.of_arm(group, arm))
    ]
    if len(rows) < 2:
        return ""
    return table(("over uniform", *FORMS_ASK), rows, set(range(1, 5)))


def ranks(line: Line | None) -> str:
    """Those that the comparisons leave an arm."""
    if line is None or line["best_rank"] is None:
        return ""
    best, worst = line["best_rank"], line["worst_rank"]
    return str(best) if best == worst else f"{best} to {worst}"


def bill(measured: Measured, group: Group) -> str:
    """What the arms of a group spent, means over seeds."""
    rows = []
    for arm, cells in group.cells.items():
        own = [measured.runs[cell].tasks[0] for cell in cells]

        def mean(key: str, own: Sequence[Line] = own) -> float:
            return float(np.mean([one[key] for one in own]))

        spent = mean("run_tokens") + mean("meta_tokens") + mean("tokens_before")
        rows.append(
            (
                arm,
                *(f"{mean(key):,.0f}" for key in ("run_tokens", "meta_tokens", "tokens_before")),
                f"{spent:,.0f}",
                f"{mean('seconds'):.0f}",
                f"{np.mean([measured.seconds(cell) for cell in cells]):.0f}",
                f"{cells[0].learning_rate:g}",
            )
        )
    heads = (
        "arm",
        "trained on",
        "to measure",
        "runs before",
        "together",
        "seconds",
        "with runs before",
        "rate",
    )
    return table(heads, rows, set(range(1, 8)))


def regret(measured: Measured, metric: str) -> str:
    """By how much each arm ends behind the best one of its regime and budget."""
    own = [group for group in measured.groups if group.kind == "all"]
    columns = []
    for group in own:
        lines = {line["arm"]: line for line in measured.differences("best", group, metric)}
        columns.append(
            {arm: difference(lines[arm]) if arm in lines else "best" for arm in group.cells}
        )
    heads = ("arm", *(f"{group.regime}, {percent(group.budget)}" for group in own))
    arms = [arm for arm in ARMS if any(arm in column for column in columns)]
    rows = [(arm, *(column.get(arm, "") for column in columns)) for arm in arms]
    return table(heads, rows, set(range(1, len(heads))))


def controls(measured: Measured, group: Group) -> str:
    """Controls against `learned`; empty without any."""
    found: Mapping[str, dict[str, Line]] = {
        metric: {line["arm"]: line for line in measured.differences("controls", group, metric)}
        for metric in READ
    }
    rows = [
        (arm, *(difference(found[metric].get(arm)) for metric in READ)) for arm in found["loss"]
    ]
    if not rows:
        return ""
    return table(("arm", "exact match over learned", "loss over learned"), rows, {1, 2})


def there(measured: Measured) -> str:
    """Which cells there are: seeds of each arm, by regime and budget."""
    own = [
        line for line in measured.runs if any(one["reported"] for one in measured.runs[line].tasks)
    ]
    places = list(dict.fromkeys((cell.regime, cell.budget) for cell in own))
    rows = []
    for arm in ARMS:
        counts = [
            sum((cell.arm, cell.regime, cell.budget) == (arm, *place) for cell in own)
            for place in places
        ]
        if any(counts):
            rows.append((arm, *(str(count or "") for count in counts)))
    heads = ("seeds of", *(f"{regime}, {percent(budget)}" for regime, budget in places))
    return table(heads, rows, set(range(1, len(heads))))


def percent(budget: float) -> str:
    """A share as people write it."""
    return f"{budget * 100:g}%"
