"""The rows of a comparison's tables, the same in the terminal, in Markdown and on the page."""

from __future__ import annotations

from adapt_eval.comparison.schema import Comparison, Figures
from adapt_eval.report import words

OVERLAP = ("training task", "benchmark", "by name", "by text")

Row = tuple[str, ...]


def figures(one: Figures) -> Row:
    """Of a benchmark or family: score of the run and of the baseline, difference, interval, p,
    p (Holm), detectable effect with the same correction."""
    return (
        words.points(one.a),
        words.points(one.b),
        words.points(one.difference, True),
        words.interval(one),
        words.p_value(one.p_value),
        words.p_value(one.p_holm),
        words.points(one.detectable_after_holm),
    )


def tokens(result: Comparison, missing: str = "") -> list[Row]:
    """Of each run: effective tokens; meta tokens and those of the runs that its mixture comes from;
    score, score per million; `missing` where there is no such number."""
    rows: list[Row] = []
    for run, one in result.tokens.items():
        if one is None:
            rows.append((run, "no ledger", missing, missing, missing))
            continue
        per = one.score_per_million
        before = one.tokens_spent_before
        rows.append(
            (
                run,
                words.tokens(one.used),
                words.tokens(one.meta_tokens)
                + (f" (and {words.tokens(before)} in runs before)" if before else ""),
                words.points(one.score),
                missing if per is None else words.points(per),
            )
        )
    return rows


def shares(result: Comparison) -> tuple[list[str], list[Row]]:
    """(runs, of each training task its share of every run's tokens); empty without a ledger."""
    lines = result.reallocation
    runs = list(lines[0].shares) if lines else []
    return runs, [
        (one.task, *(words.points(one.shares.get(run, 0.0)) for run in runs)) for one in lines
    ]
