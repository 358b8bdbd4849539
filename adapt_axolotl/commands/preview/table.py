"""A forecast for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from adapt_axolotl.commands.preview.forecast import Forecast

_COLUMNS = (
    "training\nrows",
    "supervised\ntokens",
    "validation\nrows",
    "share of\nbudget",
    "times\nseen",
)


def plan_table(run: Forecast, notes: Sequence[str], warnings: Sequence[str], title: str) -> Group:
    """The tasks as a table, what to know of the run as sentences below it."""
    title = (
        f"{title}: trains on {run.tokens:,} supervised tokens (budget {run.budget:,}), "
        f"{run.tokens / run.available:.1%} of the {run.available:,} there are, in {run.steps:,} "
        f"optimizer steps of {run.rows_per_step:.0f} rows"
    )
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),  # twenty tasks with long names fit 80 columns
        pad_edge=False,
    )
    table.add_column("\ntask", overflow="fold")
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for task in run.tasks:
        table.add_row(
            task.name,
            f"{task.rows:,}",
            f"{task.available:,}",
            f"{task.validation_rows:,}",
            f"{task.share:.1%}",
            f"{task.repeats:.2f}",
        )
    lines = [Text(line) for line in notes]
    lines += [Text(f"warning: {line}", style="yellow") for line in warnings]
    return Group(Text(title, style="bold"), table, *lines)
