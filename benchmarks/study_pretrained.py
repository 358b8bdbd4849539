"""The part of the study's page about a model that was trained on text first."""

from __future__ import annotations

from pathlib import Path

from collect_study import CELLS
from study_compare import Group
from study_grid import Cell
from study_measured import Measured, read
from study_tables import percent, results

NONE = """\
No such runs are here yet. On a GPU, with a text of your own
([the two recipes](../recipes/README.md)):

```bash
python benchmarks/pretrained_study.py DIR/study --text TEXT.jsonl \\
    --out runs/pretrained_study --to docs/measured/pretrained
```
"""


def pretrained(folder: Path) -> str:
    """The table of the runs, or how they are made.

    Args:
        folder: of both tables, where they are.
    """
    if not (folder / CELLS).exists():
        return NONE.rstrip()
    measured = read(folder)
    group = group_of(measured)
    seeds = ", ".join(str(cell.seed) for cell in group.cells["uniform"])
    rate = group.cells["uniform"][0].learning_rate
    said = f"{percent(group.budget)}, seeds {seeds}, learning rate {rate:g} for all arms."
    return f"{said}\n\n{results(measured, group)}"


def group_of(measured: Measured) -> Group:
    """All runs, which share their seeds."""
    by_arm: dict[str, list[Cell]] = {}
    for cell in measured.runs:
        by_arm.setdefault(cell.arm, []).append(cell)
    first = by_arm["uniform"][0]
    return Group("all", first.regime, first.budget, by_arm, {})
