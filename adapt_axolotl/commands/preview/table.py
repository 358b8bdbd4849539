"""A forecast for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from adapt_axolotl.commands.preview.forecast import REPEATS, Forecast


def plan_table(run: Forecast, warnings: list[str], title: str) -> Group:
    """The tasks as a table, the meta steps and the warnings as sentences below it."""
    table = Table(
        title=f"{title}: {run.tokens:,} supervised tokens, {run.tokens / run.available:.1%} of the "
        f"{run.available:,} in the pools (budget {run.budget:,}), in {run.steps:,} steps of "
        f"{run.rows_per_step:.0f} rows",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),  # twenty tasks with long names fit 80 columns
        pad_edge=False,
    )
    table.add_column("task", overflow="fold")
    for column in ("rows", "tokens", "held\nout", "share", "repeats"):
        table.add_column(column, justify="right", no_wrap=True)
    if run.meta is not None:
        table.add_column(f"repeats {REPEATS:g}\nabove", justify="right", no_wrap=True)
    for task in run.tasks:
        cells = [
            f"{task.rows:,}",
            f"{task.available:,}",
            f"{task.validation_rows:,}",
            f"{task.share:.1%}",
            f"{task.repeats:.2f}",
        ]
        if run.meta is not None:
            cells.append("never" if task.limit is None else f"{task.limit:.1%}")
        table.add_row(task.name, *cells)
    lines = [Text(f"warning: {line}", style="yellow") for line in warnings]
    return Group(table, Text(_mixture(run)), *lines)


def _mixture(run: Forecast) -> str:
    meta = run.meta
    if meta is None:
        return f"Mixture {run.mixture}: these are the rows that training draws."
    return (
        "Mixture learned: share, repeats and steps are those of its first, uniform mixture; "
        f"it moves. {meta.steps} meta steps, one every {meta.update_every} steps after "
        f"{meta.start_after:.0%} of the budget, by {meta.estimator} unless the model rules that "
        f"out; they read about {meta.tokens:,} supervised tokens more "
        f"({meta.tokens / run.budget:.1%} of the budget) and cost about {meta.cost:.0%} of the "
        "training, by counting passes over tokens; it was not measured."
    )
