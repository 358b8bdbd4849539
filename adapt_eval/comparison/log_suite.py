"""As which benchmarks the tasks of a log are read: metric, chance, clusters and family, which a log
does not tell.

Beside runs of our own it is the suite that these were measured on. Else it is the one that --suite
names, or the tasks that the logs have: a task that a shipped suite knows is what that suite says of
it, of others the log's own first metric counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt_eval.comparison.run import Run
from adapt_eval.logs.log import Log, LoggedTask
from adapt_eval.schema import BenchmarkResult, MeasuredSuite
from adapt_eval.suite import Benchmark, Suite, load_suite, suite_hash, suite_names

_NO_FAMILY = "in no suite"
_RIGHT_OR_WRONG = ("acc", "acc_norm", "exact_match")


@dataclass(frozen=True)
class LogSuite:
    """Benchmarks, by name, and what to call them all."""

    measured: MeasuredSuite
    benchmarks: Mapping[str, Benchmark]


def suite_of_runs(runs: Sequence[Run]) -> LogSuite:
    """What runs of our own were measured on."""
    contents = [one.content for run in runs for one in run.results.values()]
    return LogSuite(
        runs[0].manifest.suite, {content.task: _described(content) for content in contents}
    )


def suite_named(name_or_file: str) -> LogSuite:
    """A shipped suite, or a file.

    Raises:
        ValueError: there is none.
    """
    return _whole(load_suite(name_or_file), name_or_file)


def suite_of_logs(logs: Sequence[Log]) -> LogSuite:
    """All tasks of the logs that are no part of another.

    Raises:
        ValueError: no task has a metric that can be compared item by item.
    """
    known = {
        name: benchmark
        for suite in map(load_suite, suite_names())
        for benchmark in suite.benchmarks
        for name in (benchmark.task, benchmark.chat_task)
        if name
    }
    found: dict[str, Benchmark] = {}
    left_out: dict[str, LoggedTask] = {}
    for log in logs:
        for task in log.tasks.values():
            entry = known.get(task.name)
            if task.inside or task.name in found or (entry and entry.task in found):
                continue
            if entry is not None and entry.metric in task.metrics:
                found[entry.task] = entry
            elif task.comparable:
                found[task.name] = _guessed(task)
            else:
                left_out[task.name] = task
    if not found:
        name, task = next(iter(left_out.items()))
        raise ValueError(
            f"{task.file}: {name} has no metric that is a mean over items and of which more is "
            f"better ({', '.join(task.metrics) or 'it has none'}); compare other tasks, or name a "
            "metric in a suite (--suite FILE)"
        )
    note = "as the logs have them; the choice of benchmarks is theirs"
    if left_out:
        note += f"; left out, for want of a mean over items: {', '.join(left_out)}"
    # lm-eval sorts its tasks by name; a suite's order is that of its families.
    places = {benchmark.task: place for place, benchmark in enumerate(known.values())}
    ordered = sorted(found.values(), key=lambda one: places.get(one.task, len(places)))
    suite = Suite(name="the tasks of the logs", note=note, benchmarks=tuple(ordered))
    return _whole(suite, None)


def _whole(suite: Suite, source: str | None) -> LogSuite:
    benchmarks = {one.task: one for one in suite.benchmarks}
    measured = MeasuredSuite(
        name=suite.name,
        note=suite.note,
        source=source,
        hash=suite_hash(suite),
        benchmarks=list(benchmarks),
    )
    return LogSuite(measured, benchmarks)


def _described(content: BenchmarkResult) -> Benchmark:
    """The suite's entry behind a result."""
    stored = content.fingerprint.benchmark
    return Benchmark.model_validate(
        {
            "task": content.task,
            "family": content.family,
            "metric": content.metric,
            "shots": int(content.settings.get("shots") or 0),
            "items": content.items,
            "chance": content.chance,
            "floor": content.floor,
            "scale": stored.get("scale", 1),
            "cluster": content.clustered_by,
            "chat_task": stored.get("chat_task", ""),
            "names": tuple(content.names),
        }
    )


def _guessed(task: LoggedTask) -> Benchmark:
    """What a log tells of a task that is in no suite."""
    metric = task.comparable[0]
    chance = 0.0
    if metric.rpartition(",")[0] in _RIGHT_OR_WRONG:
        choices = [one.choices for one in task.items]
        chance = statistics.fmean(1 / many if many else 0.0 for many in choices)
    return Benchmark.model_validate(
        {
            "task": task.name,
            "family": _NO_FAMILY,
            "metric": metric,
            "shots": 0,
            "items": 0,
            "chance": round(chance, 4),
            "cluster": "subtask" if len(task.parts) > 1 else "",
        }
    )
