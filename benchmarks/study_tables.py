"""Tables of the study as Markdown, from the committed ones. K tasks.

Means and intervals of one arm are over its seeds (`adapt_eval.statistics.paired`); differences are
those that `adapt-eval compare` found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from collect_study import CELLS, COMPARISONS
from study_arms import ARMS
from study_compare import Group, groups
from study_grid import Cell, rates
from study_metrics import READ
from study_regimes import counted

from adapt_common.markdown import table
from adapt_eval.statistics.paired import estimate

Line = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One cell, a line of the table for each task that is reported in its regime.

    Attributes:
        cell: it.
        tasks: the lines.
    """

    cell: Cell
    tasks: Sequence[Line]

    def of(self, regime: str) -> Run:
        """With the tasks that are reported in another regime."""
        kept = counted(regime, [line["task"] for line in self.tasks])
        return Run(self.cell, [line for line in self.tasks if line["task"] in kept])

    def mean(self, key: str) -> float:
        """Over tasks."""
        return float(np.mean([line[key] for line in self.tasks]))

    @property
    def worst_quarter(self) -> float:
        """Mean loss of the worst quarter of the tasks."""
        losses = np.sort([line["loss"] for line in self.tasks])
        return float(losses[-max(1, len(losses) // 4) :].mean())


@dataclass(frozen=True)
class Measured:
    """Both tables.

    Attributes:
        lines: of cells and tasks.
        comparisons: of `adapt-eval compare`.
    """

    lines: Sequence[Line]
    comparisons: Sequence[Line]

    @cached_property
    def runs(self) -> dict[Cell, Run]:
        """All cells."""
        own: dict[Cell, list[Line]] = {}
        for line in self.lines:
            cell = Cell(**{key: line[key] for key in Cell.__dataclass_fields__})
            own.setdefault(cell, []).append(line)
        return {cell: Run(cell, tasks) for cell, tasks in own.items()}

    @cached_property
    def losses(self) -> dict[Cell, float]:
        """As `study_done.validation_losses`."""
        return {
            cell: float(np.mean([line["curve_losses"][-1] for line in run.tasks]))
            for cell, run in self.runs.items()
        }

    @cached_property
    def rates(self) -> dict[str, float]:
        """Learning rate of each arm."""
        return rates(self.losses)

    @cached_property
    def groups(self) -> list[Group]:
        """The comparisons that there are runs for."""
        return list(groups(list(self.runs), self.losses, self.rates))

    def of_arm(self, group: Group, arm: str) -> list[Run]:
        """Its runs in a group, seed by seed, with the tasks that the group reports."""
        return [self.runs[cell].of(group.regime) for cell in group.cells[arm]]

    def differences(self, kind: str, group: Group, metric: str, level: str = "suite") -> list[Line]:
        """Lines of `adapt-eval compare`."""
        wanted = (kind, group.regime, group.budget, metric, level)
        keys = ("kind", "regime", "budget", "metric", "level")
        return [line for line in self.comparisons if tuple(line[key] for key in keys) == wanted]


def read(folder: Path) -> Measured:
    """
    Args:
        folder: where `collect_study.py` left both tables.

    Raises:
        SystemExit: they are not there.
    """
    files = [folder / CELLS, folder / COMPARISONS]
    for file in files:
        if not file.exists():
            raise SystemExit(f"{file}: is missing; run benchmarks/collect_study.py")
    cells, comparisons = (pyarrow.parquet.read_table(file).to_pylist() for file in files)
    return Measured(cells, comparisons)


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean over seeds, with a 95 % interval where there are several."""
    found = estimate(np.array(values, dtype=float))
    if found.n < 2:
        return f"{found.mean:.{digits}f}"
    low, high = found.interval()
    return f"{found.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def difference(line: Line | None) -> str:
    """As `adapt-eval compare` found it, in shares or in nats."""
    if line is None:
        return ""
    read_as = READ[line["metric"]]
    low, high = sorted((read_as(line["ci_low"]), read_as(line["ci_high"])))
    said = f"{read_as(line['difference']):+.3f} [{low:+.3f}, {high:+.3f}]"
    return said + (f" {line['verdict']}" if line["verdict"] in ("better", "worse") else "")


def results(measured: Measured, group: Group) -> str:
    """What the arms of a group reached, the best exact match first."""
    baseline = measured.of_arm(group, "uniform")
    over = {
        metric: {line["arm"]: line for line in measured.differences("uniform", group, metric)}
        for metric in READ
    }
    order = sorted(
        group.cells,
        key=lambda arm: -np.mean([r.mean("exact_match") for r in measured.of_arm(group, arm)]),
    )
    rows = []
    for arm in order:
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
                f"{cells[0].learning_rate:g}",
            )
        )
    heads = ("arm", "trained on", "to measure", "runs before", "together", "seconds", "rate")
    return table(heads, rows, set(range(1, 7)))


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
