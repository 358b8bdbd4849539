"""A comparison as Markdown, for a pull request or the documentation."""

from __future__ import annotations

from adapt_common.markdown import table
from adapt_eval.comparison.schema import Comparison
from adapt_eval.report import rows, words


def as_markdown(result: Comparison) -> str:
    """The same as the tables in the terminal."""
    parts = [f"**{words.headline(result, suite)}**" for suite in result.suites]
    for run in (one.run for one in result.suites):
        columns = ("benchmark", run, result.baseline, "difference", "95 %", "p", "p (Holm)")
        benchmarks = [(one.task, one) for one in result.benchmarks if one.run == run]
        families = [(f"*{one.family}*", one) for one in result.families if one.run == run]
        compared = [
            (label, *rows.figures(one), one.verdict) for label, one in [*benchmarks, *families]
        ]
        parts.append(table((*columns, "detectable", "verdict"), compared, {*range(1, 8)}))
    heads: tuple[str, ...] = (
        "run",
        "effective training tokens",
        "meta tokens",
        "score",
        "score per million tokens",
    )
    parts.append(table(heads, rows.tokens(result), {1, 2, 3, 4}))
    runs, shares = rows.shares(result)
    if shares:
        heads = ("training task", *(f"{run}, % of tokens" for run in runs))
        parts.append(table(heads, shares, {*range(1, len(runs) + 1)}))
    if lines := words.overlap_lines(result):
        parts.append(table(rows.OVERLAP, lines))
    parts.append(f"Overlap: {words.overlap_remark(result)}.")
    parts.append("\n".join(f"- {line}" for line in words.remarks(result)))
    return "\n\n".join(parts)
