"""A comparison as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt_eval.report import words
from adapt_eval.report.table import grid, render

_COLUMNS = ("a", "b", "a - b", "95 %", "p", "p (Holm)", "detectable")


def comparison_tables(result: Mapping[str, Any]) -> str:
    """The primary test first, then benchmarks, families, tokens, tasks and overlap."""
    parts: list[Any] = [words.headline(result, suite) for suite in result["suites"]]
    for run in (one["run"] for one in result["suites"]):
        rows = [
            (one["task"], one["verdict"], *_numbers(one))
            for one in result["benchmarks"]
            if one["run"] == run
        ]
        rows += [
            (f"= {one['family']}", one["verdict"], *_numbers(one))
            for one in result["families"]
            if one["run"] == run
        ]
        title = f"a = {run}, b = {result['baseline']} (points)"
        parts.append(grid(title, ("benchmark", "verdict", *_COLUMNS), rows, 2))
    parts.append(_tokens(result))
    if result["reallocation"]:
        parts.append(_reallocation(result))
    if lines := words.overlap_lines(result):
        columns = ("training task", "benchmark", "by name", "by text")
        parts.append(grid("overlap", columns, lines, 4))
    parts.append(words.overlap_remark(result))
    parts += [f"- {line}" for line in words.remarks(result)]
    return render(*parts)


def _numbers(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        words.points(one["a"]),
        words.points(one["b"]),
        words.points(one["difference"], True),
        words.interval(one),
        words.p_value(one["p_value"]),
        words.p_value(one["p_holm"]),
        words.points(one["minimum_detectable_effect"]),
    )


def _tokens(result: Mapping[str, Any]) -> Any:
    rows = []
    for run, one in result["tokens"].items():
        if one is None:
            rows.append((run, "no ledger", "-", "-", "-"))
            continue
        per = one["score_per_million"]
        rows.append(
            (
                run,
                words.tokens(one["used"]),
                words.tokens(one["meta_tokens"]),
                words.points(one["score"]),
                "-" if per is None else words.points(per),
            )
        )
    columns = ("run", "effective tokens", "meta tokens", "score", "score per million")
    return grid("training tokens", columns, rows, 1)


def _reallocation(result: Mapping[str, Any]) -> Any:
    runs = list(result["reallocation"][0]["shares"])
    rows = [
        (one["task"], *(words.points(one["shares"].get(run, 0.0)) for run in runs))
        for one in result["reallocation"]
    ]
    return grid("share of training tokens (%)", ("task", *runs), rows, 1)
