"""The committed tables of the study, as runs and comparisons. K tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from collect_study import CELLS, COMPARISONS
from study_compare import Group, groups
from study_grid import Cell, Rates, before, rates
from study_regimes import counted

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

    @property
    def worst_task(self) -> float:
        """The highest loss."""
        return float(max(line["loss"] for line in self.tasks))


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
        means = {
            cell: float(np.mean([line["curve_losses"][-1] for line in run.tasks]))
            for cell, run in self.runs.items()
        }
        return {cell: mean if math.isfinite(mean) else math.inf for cell, mean in means.items()}

    @cached_property
    def rates(self) -> Rates:
        """The learning rates."""
        return rates(self.losses)

    @cached_property
    def groups(self) -> list[Group]:
        """The comparisons that there are runs for."""
        return list(groups(list(self.runs), self.losses, self.rates))

    def seconds(self, cell: Cell) -> float:
        """Of processor time, those of the runs that it comes from included."""
        own: float = self.runs[cell].tasks[0]["seconds"]
        needed = before(cell, self.rates)
        return own if needed is None else own + self.seconds(needed)

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
