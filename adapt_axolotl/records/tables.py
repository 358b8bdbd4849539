"""A finished run as a table for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text


def run_table(ledger: dict[str, Any], title: str, meta_steps: int = 0) -> Table:
    """Task, tokens, share, repeats, first and last validation loss, from `ledger.json`."""
    used = ledger["used"]
    table = Table(title=f"{title}: {spent(ledger, meta_steps)}, {ledger['left']:,} left")
    table.add_column("task")
    for column in ("tokens", "share", "repeats", "first loss", "last loss"):
        table.add_column(column, justify="right")
    for name, task in ledger["tasks"].items():
        table.add_row(
            Text(name),  # not markup, whatever brackets it has
            f"{task['tokens']:,}",
            f"{task['tokens'] / max(1, used):.1%}",
            f"{task['repeats']:.2f}",
            *(
                "n/a" if task[key] is None else f"{task[key]:.3f}"
                for key in ("first_validation_loss", "last_validation_loss")
            ),
        )
    return table


def spent(ledger: dict[str, Any], meta_steps: int) -> str:
    """What of its budget a run used, in how many steps, and what went before."""
    said = (
        f"{ledger['used']:,} of {ledger['budget']:,} supervised tokens in "
        f"{ledger['steps']:,} optimizer steps"
    )
    if meta_steps:
        read = f" that read {ledger['meta_tokens']:,}" if ledger["meta_tokens"] else ""
        said += f" and {meta_steps:,} meta step{'s' * (meta_steps != 1)}{read}"
    if before := ledger.get("tokens_spent_before"):
        said += f", after {before:,} tokens in the runs that its mixture comes from"
    return said
