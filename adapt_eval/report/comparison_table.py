"""A comparison as tables for the terminal."""

from __future__ import annotations

from typing import Any

from adapt_eval.comparison.schema import Comparison
from adapt_eval.report import rows, words
from adapt_eval.report.table import grid, render

_COLUMNS = ("a", "b", "a - b", "95 %", "p", "p (Holm)", "detectable")
_TOKENS = ("run", "effective tokens", "meta tokens", "score", "score per million")


def comparison_tables(result: Comparison) -> str:
    """The primary test first, then benchmarks, families, tokens, tasks and overlap."""
    parts: list[Any] = [words.headline(result, suite) for suite in result.suites]
    for run in (one.run for one in result.suites):
        benchmarks = [(one.task, one) for one in result.benchmarks if one.run == run]
        families = [(f"= {one.family}", one) for one in result.families if one.run == run]
        compared = [
            (label, one.verdict, *rows.figures(one)) for label, one in [*benchmarks, *families]
        ]
        title = f"a = {run}, b = {result.baseline} (points)"
        parts.append(grid(title, ("benchmark", "verdict", *_COLUMNS), compared, 2))
    parts.append(grid("training tokens", _TOKENS, rows.tokens(result, missing="-"), 1))
    runs, shares = rows.shares(result)
    if shares:
        parts.append(grid("share of training tokens (%)", ("task", *runs), shares, 1))
    if lines := words.overlap_lines(result):
        parts.append(grid("overlap", rows.OVERLAP, lines, 4))
    parts.append(words.overlap_remark(result))
    parts += [f"- {line}" for line in words.remarks(result)]
    return render(*parts)
