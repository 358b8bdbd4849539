"""A comparison as tables for the terminal."""

from __future__ import annotations

from typing import Any

from adapt_eval.comparison.schema import Comparison
from adapt_eval.report import rows, words
from adapt_eval.report.table import grid, narrow, render

_COLUMNS = ("a", "b", "a - b", "95 %", "p", "p (Holm)", "detectable")
_KEPT = (0, 1, 2, 3, 5)  # of them, where the terminal is narrow
_LEFT_OUT = (
    "- left out for want of width: p before correction, and detectable (100 columns show both)"
)
_TOKENS = ("run", "effective tokens", "meta tokens", "score", "score per million")


def comparison_tables(result: Comparison) -> str:
    """The primary test first, then benchmarks, families, tokens, tasks and overlap."""
    kept = _KEPT if narrow() else range(len(_COLUMNS))
    parts: list[Any] = [words.headline(result, suite) for suite in result.suites]
    for run in (one.run for one in result.suites):
        benchmarks = [(one.task, one) for one in result.benchmarks if one.run == run]
        families = [(f"= {one.family}", one) for one in result.families if one.run == run]
        compared = [
            (label, one.verdict, *(rows.figures(one)[column] for column in kept))
            for label, one in [*benchmarks, *families]
        ]
        title = f"a = {run}, b = {result.baseline} (points)"
        heads = ("benchmark", "verdict", *(_COLUMNS[column] for column in kept))
        parts.append(grid(title, heads, compared, 2))
    parts.append(grid("training tokens", _TOKENS, rows.tokens(result, missing="-"), 1))
    runs, shares = rows.shares(result)
    if shares:
        parts.append(grid("share of training tokens (%)", ("task", *runs), shares, 1))
    if lines := words.overlap_lines(result):
        parts.append(grid("overlap", rows.OVERLAP, lines, 4))
    parts.append(words.overlap_remark(result))
    parts += [f"- {line}" for line in words.remarks(result)]
    if narrow():
        parts.append(_LEFT_OUT)
    return render(*parts)
