"""What `adapt-eval` measured of a run, for its card."""

from __future__ import annotations

from typing import Any

from huggingface_hub import EvalResult

from adapt_axolotl.records.read import FinishedRun
from adapt_eval.comparison.arms import read_arms, read_run
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.run import Run
from adapt_eval.errors import NotComparable
from adapt_eval.report.markdown import as_markdown, table
from adapt_eval.report.words import points
from adapt_eval.schema import BenchmarkResult, Ledger

__all__ = ["NotComparable", "comparison", "evaluations", "header", "scores", "table"]


def evaluations(run: FinishedRun) -> dict[str, Run]:
    """Results below `<run>/eval/`, by suite; empty where there are none.

    Raises:
        ValueError: they are damaged, or were measured on another training in the same folder.
    """
    found = {}
    for file in sorted((run.folder / "eval").glob("*/manifest.json")):
        suite = file.parent.name
        measured = read_run(run.folder, suite)
        if measured.ledger is not None and _measured_on(measured.ledger) != _spent(run.ledger):
            raise ValueError(
                f"{run.folder}/eval/{suite}: was measured before the run was trained again; "
                f"measure it again with `adapt-eval run {run.folder} --suite {suite} --force`, or "
                "delete it"
            )
        found[suite] = measured
    return found


def scores(measured: Run) -> str:
    """The results of one suite as Markdown."""
    rows = [
        (
            name,
            str(one.content.family),
            str(one.content.metric),
            f"{one.content.items:,}" + (" (the first)" if _limited(one.content) else ""),
            points(one.content.score),
            points(one.content.chance),
        )
        for name, one in measured.results.items()
    ]
    columns = ("benchmark", "family", "metric", "items", "score", "chance")
    suite = measured.manifest.suite
    return f"Suite {suite.name}: {suite.note}.\n\n{table(columns, rows, {3, 4, 5})}"


def comparison(twin: FinishedRun, run: FinishedRun) -> list[str]:
    """Markdown of `adapt-eval compare TWIN RUN`, for each suite that both were measured on.

    Raises:
        ValueError: as for `evaluations`, of either.
        NotComparable: they were not measured the same way.
    """
    theirs = evaluations(twin)
    both = [suite for suite in evaluations(run) if suite in theirs]
    arms = [f"{one.name}={one.folder}" for one in (twin, run)]
    return [as_markdown(compare(read_arms(arms, suite))) for suite in both]


def header(measured: Run) -> list[EvalResult]:
    """Results for the card's header, which indexes read: those of whole benchmarks only."""
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=next(iter(one.content.data), name),
            dataset_name=name,
            metric_type=str(one.content.metric).partition(",")[0],
            metric_value=one.content.score,
        )
        for name, one in measured.results.items()
        if not _limited(one.content)
    ]


def _limited(result: BenchmarkResult) -> bool:
    return bool(result.fingerprint.limit)


def _measured_on(ledger: Ledger) -> dict[str, int]:
    return {name: task.tokens for name, task in ledger.tasks.items()}


def _spent(ledger: dict[str, Any]) -> dict[str, int]:
    return {name: task["tokens"] for name, task in ledger["tasks"].items()}
