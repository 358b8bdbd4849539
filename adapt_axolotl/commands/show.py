"""Finished runs side by side: for each task its tokens and its validation loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from adapt_axolotl.commands.unfinished import unfinished
from adapt_axolotl.records.effects import LEGEND, TITLE, effects_table, read_effects, summary
from adapt_axolotl.records.stands_out import stands_out
from adapt_axolotl.records.tables import spent
from adapt_common.markdown import table as markdown
from adapt_common.run_records import meta_steps, read_history, read_ledger

Row = list[str]


def comparison(runs: Sequence[Path]) -> tuple[Row, list[Row], list[Row]]:
    """(header, a row a task, summary rows): of each run tokens, share, first and last validation
    loss.

    Raises:
        ValueError: a folder holds no finished run, or the runs have different tasks.
    """
    for run in runs:
        if said := unfinished(run):
            raise ValueError(said)
    reports = [read_ledger(run) for run in runs]
    names = list(reports[0]["tasks"])
    for run, report in zip(runs, reports, strict=True):
        if list(report["tasks"]) != names:
            raise ValueError(
                f"{run}: its tasks differ from those of {runs[0]}, so the runs cannot stand side "
                "by side; show it alone"
            )
    header = ["task"]
    for run in runs:
        header += [f"{run.name}: tokens", "share", "first loss", "last loss"]
    rows = []
    for name in names:
        row = [name]
        for report in reports:
            task = report["tasks"][name]
            row += [
                f"{task['tokens']:,}",
                f"{task['tokens'] / max(1, report['used']):.1%}",
                _loss(task["first_validation_loss"]),
                _loss(task["last_validation_loss"]),
            ]
        rows.append(row)
    return header, rows, _summary(reports, names)


def _summary(reports: Sequence[dict], names: Sequence[str]) -> list[Row]:
    """Means over tasks and the largest of the first and last losses, tokens in all."""
    mean: Row = ["mean over tasks"]
    worst: Row = ["largest loss"]
    for report in reports:
        first, last = (
            np.array([_number(report["tasks"][name][key]) for name in names], dtype=float)
            for key in ("first_validation_loss", "last_validation_loss")
        )
        means = [_loss(float(np.nanmean(losses))) for losses in (first, last)]
        mean += [f"{report['used']:,}", "100.0%", *means]
        worst += ["", "", *(_loss(float(np.nanmax(losses))) for losses in (first, last))]
    return [mean, worst]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _loss(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def side_by_side(runs: Sequence[Path]) -> Group:
    """The comparison for the terminal, at most 80 columns wide: what each run spent, then shares
    and losses, two runs at a time."""
    _, rows, summary = comparison(runs)
    letters = _letters(runs)
    used = [_used(run, letter) for run, letter in zip(runs, letters, strict=True)]
    tables = []
    for first in range(0, len(runs), 2):
        shown = range(first, min(first + 2, len(runs)))
        table = Table(box=SIMPLE, collapse_padding=True)
        table.add_column("task", min_width=15, max_width=28, overflow="fold")
        for run in shown:
            for label in ("share", "first\nloss", "last\nloss"):
                table.add_column(f"{letters[run]} {label}".strip(), justify="right", no_wrap=True)
        for row in (*rows, *summary):
            if row is summary[0]:
                table.add_section()
            # Of each run all but the count of tokens, its first column.
            cells = row[:1] + [row[1 + 4 * run + which] for run in shown for which in (1, 2, 3)]
            table.add_row(*map(Text, cells))
        tables.append(table)
    legend = "share: of the tokens trained on; loss: validation, per supervised token"
    effects = [effects_of(run, letter) for run, letter in zip(runs, letters, strict=True)]
    return Group(*map(Text, used), *tables, legend, *(one for one in effects if one is not None))


def effects_of(run: Path, letter: str = "") -> Group | None:
    """Which task helped which target, for the terminal, two targets at a time; None where it was
    not measured."""
    content = read_effects(run)
    if content is None:
        return None
    header, rows = effects_table(content)
    tables = []
    for first in range(1, len(header), 2):
        shown = range(first, min(first + 2, len(header)))
        table = Table(box=SIMPLE, collapse_padding=True)
        table.add_column("task", min_width=15, max_width=28, overflow="fold")
        for column in shown:
            table.add_column(Text(header[column]), justify="left", overflow="fold")
        for number, row in enumerate(rows):
            table.add_row(*map(Text, [row[0], *(row[column] for column in shown)]))
            if not number:
                table.add_section()
        tables.append(table)
    title = f"{letter} {run.name}: {TITLE[0].lower()}{TITLE[1:]}".strip()
    return Group("", Text(title), *tables, Text(LEGEND), Text(summary(content)))


def _used(run: Path, letter: str) -> str:
    history = read_history(run)
    used = f"{letter} {run.name}: {spent(read_ledger(run), meta_steps(history))}".strip()
    return "\n".join(part for part in (used, stands_out(history)) if part)


def _letters(runs: Sequence[Path]) -> list[str]:
    """A short name for each run; none where there is one run."""
    if len(runs) == 1:
        return [""]
    return [ascii_uppercase[n] if n < 26 else str(n + 1) for n in range(len(runs))]


def markdown_table(runs: Sequence[Path]) -> str:
    """The comparison as Markdown."""
    header, rows, summary = comparison(runs)
    return markdown(header, [*rows, *summary], range(1, len(header)))
