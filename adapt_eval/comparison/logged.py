"""A log as a run: its tasks as benchmarks of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapt_eval.comparison.items import Items, keys_of, other_mean
from adapt_eval.comparison.log_suite import LogSuite
from adapt_eval.comparison.run import Run
from adapt_eval.logs.log import Log, LoggedItem, LoggedTask
from adapt_eval.schema import BenchmarkResult, Fingerprint, Manifest
from adapt_eval.suite import Benchmark


@dataclass(frozen=True)
class LoggedResult:
    """A task of a log as a benchmark."""

    content: BenchmarkResult
    folder: Path
    found: Items

    def items(self) -> Items:
        """They are read with the log."""
        return self.found


def run_of_log(log: Log, suite: LogSuite) -> Run:
    """
    Raises:
        ValueError: the log has none of the benchmarks, lacks a metric, or its items are damaged.
    """
    results = {}
    for name, benchmark in suite.benchmarks.items():
        task = log.tasks.get(name) or log.tasks.get(benchmark.chat_task)
        if task is not None:
            results[name] = _result(log, task, benchmark)
    if not results:
        raise ValueError(
            f"{log.place}: has none of the benchmarks of {suite.measured.name} "
            f"({', '.join(suite.benchmarks)}), only {', '.join(log.tasks)}; measure one of them, "
            "or name another suite by --suite"
        )
    manifest = Manifest(
        made=log.made,
        model=log.model,
        suite=suite.measured,
        versions=log.identity.versions,
    )
    return Run(log.place, manifest, results, harness=log.harness, logged=True)


def _result(log: Log, task: LoggedTask, benchmark: Benchmark) -> LoggedResult:
    metric, _, filter_name = benchmark.metric.rpartition(",")
    if benchmark.metric not in task.metrics:
        raise ValueError(
            f"{task.file}: {task.name} has no metric {benchmark.metric!r}, only "
            f"{', '.join(task.metrics)}; change `metric:` in the suite, or {log.remedy}"
        )
    chosen = [one for one in task.items if one.filter == filter_name and metric in one.scores]
    scores = np.array([one.scores[metric] for one in chosen]) / benchmark.scale
    said = task.metrics[benchmark.metric] / benchmark.scale
    if (mean := other_mean(scores, said)) is not None:
        raise ValueError(
            f"{task.file}: says {said:.6f} for {task.name}, {benchmark.metric}, and its "
            f"{len(scores)} items average to {mean:.6f}: the metric is no mean over items, or one "
            f"of the files was edited; {log.remedy}, or name a suite without it by --suite"
        )
    settings = {**task.settings, "metric": benchmark.metric}
    if benchmark.metric in task.scoring:
        settings["scoring"] = task.scoring[benchmark.metric]
    content = BenchmarkResult(
        task=benchmark.task,
        family=benchmark.family,
        metric=benchmark.metric,
        score=said,
        items=len(chosen),
        chance=benchmark.chance,
        floor=benchmark.floor,
        names=list(benchmark.names),
        clustered_by=benchmark.cluster,
        metrics=dict(task.metrics),
        settings=settings,
        fingerprint=Fingerprint(
            **log.identity.model_dump(exclude_unset=True, exclude={"limit"}), limit=task.limit
        ),
    )
    found = Items(
        keys_of((one.subtask, one.filter, one.doc_hash) for one in chosen),
        scores,
        [one.target_hash for one in chosen],
        [one.prompt_hash for one in chosen],
        [_cluster(benchmark, one, task) for one in chosen],
    )
    return LoggedResult(content, task.file.parent, found)


def _cluster(benchmark: Benchmark, item: LoggedItem, task: LoggedTask) -> str:
    if benchmark.cluster == "subtask":
        return item.subtask
    if not benchmark.cluster:
        return ""
    if benchmark.cluster not in item.document:
        raise ValueError(
            f"{task.file}: the documents of {task.name} have no column {benchmark.cluster!r}, only "
            f"{', '.join(item.document)}; change `cluster:` in the suite"
        )
    return str(item.document[benchmark.cluster])
