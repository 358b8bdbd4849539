"""Finished runs side by side: for each task its tokens and its validation loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from adapt_common.markdown import table as markdown
from adapt_common.run_records import read_ledger

Row = list[str]


def comparison(runs: Sequence[Path]) -> tuple[Row, list[Row], list[Row]]:
    """(header, a row a task, summary rows): tokens, share and last validation loss of each run.

    Raises:
        ValueError: a folder holds no finished run, or the runs have different tasks.
    """
    reports = [read_ledger(run) for run in runs]
    names = list(reports[0]["tasks"])
    for run, report in zip(runs, reports, strict=True):
        if list(report["tasks"]) != names:
            raise ValueError(
                f"{run}: its tasks differ from those of {runs[0]}, so the runs cannot stand side "
                "by side; show it alone"
            )
    header = ["task", "first loss"]
    for run in runs:
        header += [f"{run.name}: tokens", "share", "last loss"]
    rows = []
    for name in names:
        row = [name, _loss(reports[0]["tasks"][name]["first_validation_loss"])]
        for report in reports:
            task = report["tasks"][name]
            row += [
                f"{task['tokens']:,}",
                f"{task['tokens'] / max(1, report['used']):.1%}",
                _loss(task["last_validation_loss"]),
            ]
        rows.append(row)
    return header, rows, [*_summary(reports, names), *_timing(runs)]


def _summary(reports: Sequence[dict], names: Sequence[str]) -> list[Row]:
    """Means over tasks of the first and last losses, the worst last loss, tokens in all."""
    losses = [
        np.array(
            [_number(report["tasks"][name]["last_validation_loss"]) for name in names], dtype=float
        )
        for report in reports
    ]
    first = np.array(
        [_number(reports[0]["tasks"][name]["first_validation_loss"]) for name in names]
    )
    mean: Row = ["mean over tasks", _loss(float(np.nanmean(first)))]
    worst: Row = ["worst task", _loss(float(np.nanmax(first)))]
    for report, values in zip(reports, losses, strict=True):
        mean += [f"{report['used']:,}", "100.0%", _loss(float(np.nanmean(values)))]
        worst += ["", "", _loss(float(np.nanmax(values)))]
    return [mean, worst]


def _timing(runs: Sequence[Path]) -> list[Row]:
    """Seconds of training, and the part of them that went into meta steps before the training
    forward (what hooks add to the backward is in the training time)."""
    seconds: Row = ["training seconds", ""]
    meta: Row = ["in meta steps", ""]
    for run in runs:
        timing = json.loads((run / "adapt" / "timing.json").read_text(encoding="utf-8"))
        seconds += ["", "", f"{timing['training']:.1f}"]
        meta += ["", "", f"{timing['meta_steps'] / max(timing['training'], 1e-9):.1%}"]
    return [seconds, meta]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _loss(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def side_by_side(runs: Sequence[Path]) -> Table:
    """The comparison as a table for the terminal: shares and losses, without the token counts."""
    header, rows, summary = comparison(runs)
    kept = [n for n in range(len(header)) if n < 2 or (n - 2) % 3 != 0]
    table = Table(title="share of tokens, and validation loss per supervised token")
    for number in kept:
        # A word a line: three runs then fit a terminal of 80 columns.
        words = runs[(number - 2) // 3].name.replace("_", "_\n").split("\n") if number >= 2 else []
        words.append(header[number].rsplit(": ")[-1])
        table.add_column(
            "\n".join(words), justify="left" if number == 0 else "right", no_wrap=number == 0
        )
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    table.add_section()
    for row in summary:
        table.add_row(*(row[number] for number in kept))
    return table


def markdown_table(runs: Sequence[Path]) -> str:
    """The comparison as Markdown."""
    header, rows, summary = comparison(runs)
    return markdown(header, [*rows, *summary], range(1, len(header)))
