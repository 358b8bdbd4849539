"""A comparison as Markdown, for a pull request or the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapt_eval.report import words


def as_markdown(result: Mapping[str, Any]) -> str:
    """The same as the tables in the terminal."""
    parts = [f"**{words.headline(result, suite)}**" for suite in result["suites"]]
    for run in (one["run"] for one in result["suites"]):
        columns = ("benchmark", run, result["baseline"], "difference", "95 %", "p", "p (Holm)")
        lines = [one for one in result["benchmarks"] if one["run"] == run]
        lines += [one for one in result["families"] if one["run"] == run]
        rows = [
            (
                one.get("task") or f"*{one['family']}*",
                words.points(one["a"]),
                words.points(one["b"]),
                words.points(one["difference"], True),
                words.interval(one),
                words.p_value(one["p_value"]),
                words.p_value(one["p_holm"]),
                words.points(one["minimum_detectable_effect"]),
                one["verdict"],
            )
            for one in lines
        ]
        parts.append(table((*columns, "detectable", "verdict"), rows, {*range(1, 8)}))
    tokens = [
        (run, "no ledger", "", "", "")
        if one is None
        else (
            run,
            words.tokens(one["used"]),
            words.tokens(one["meta_tokens"]),
            words.points(one["score"]),
            "" if one["score_per_million"] is None else words.points(one["score_per_million"]),
        )
        for run, one in result["tokens"].items()
    ]
    heads: tuple[str, ...] = (
        "run",
        "effective training tokens",
        "meta tokens",
        "score",
        "score per million tokens",
    )
    parts.append(table(heads, tokens, {1, 2, 3, 4}))
    if result["reallocation"]:
        runs = list(result["reallocation"][0]["shares"])
        shares = [
            (one["task"], *(words.points(one["shares"].get(run, 0.0)) for run in runs))
            for one in result["reallocation"]
        ]
        heads = ("training task", *(f"{run}, % of tokens" for run in runs))
        parts.append(table(heads, shares, {*range(1, len(runs) + 1)}))
    if lines := words.overlap_lines(result):
        parts.append(table(("training task", "benchmark", "by name", "by text"), lines, set()))
    parts.append(f"Overlap: {words.overlap_remark(result)}.")
    parts.append("\n".join(f"- {line}" for line in words.remarks(result)))
    return "\n\n".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """A Markdown table; columns in `right` are numbers."""
    marks = ["---:" if number in right else "---" for number in range(len(heads))]
    lines = [heads, marks, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
