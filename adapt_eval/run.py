"""Evaluate one model on a suite, a benchmark at a time, so that a killed run can be resumed."""

from __future__ import annotations

import glob
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapt_eval.alone import alone
from adapt_eval.errors import RunFailed
from adapt_eval.identity import (
    answers_hash,
    fingerprint_of,
    finished,
    identity_of,
    ledger_of,
    write_manifest,
)
from adapt_eval.model import Model, check_fits, check_there, resolve
from adapt_eval.options import Options, check, check_template, parse_model_args, pick_device
from adapt_eval.progress import Reporter
from adapt_eval.results import has_manifest, write_result
from adapt_eval.schema import (
    BenchmarkResult,
    Fingerprint,
    Identity,
    Ledger,
    Plan,
    PlannedBenchmark,
    Score,
    Scores,
)
from adapt_eval.server import CHAT, SERVERS, check_chat
from adapt_eval.suite import Suite, load_suite

if TYPE_CHECKING:
    from adapt_eval.lm_harness.measure import Measured
    from adapt_eval.lm_harness.tasks import Prepared

# Share of items on which two similar models differ: an assumption, for want of results.
_PLANNED_DISCORDANCE = 0.1


@dataclass(frozen=True)
class Checked:
    """A run of which everything is checked that can be without loading the model.

    Attributes:
        options: resolved.
        folder: where results go.
        benchmarks: all of them, with their data read.
        done: benchmark -> result of exactly this measurement, where there is one.
        ledger: of the training run, if the model is one's.
    """

    options: Options
    suite: Suite
    model: Model
    folder: Path
    identity: Identity
    benchmarks: list[tuple[Prepared, Fingerprint]]
    done: dict[str, BenchmarkResult]
    ledger: Ledger | None


def plan(options: Options, reporter: Reporter) -> Plan:
    """Check everything that can be checked without loading the model; nothing is written.

    Raises:
        ValueError: something asked for is impossible.
        RunFailed: data, network or memory are missing.
    """
    return _plan(_check(options, reporter))


def run_suite(options: Options, reporter: Reporter) -> Scores:
    """Check as `plan` does, then measure the benchmarks that have no result yet.

    Raises:
        ValueError: something asked for is impossible.
        RunFailed: data, network or memory are missing.
    """
    checked = _check(options, reporter)
    done = dict(checked.done)
    missing = len(done) < len(checked.benchmarks)
    if missing or not has_manifest(checked.folder):
        with alone(checked.folder):
            write_manifest(
                checked.folder,
                checked.suite,
                checked.model,
                checked.identity,
                checked.options,
                checked.ledger,
            )
            if missing:
                reporter.start(len(checked.benchmarks), len(done))
                _measure(checked, reporter, done)
    return Scores(
        suite=checked.suite.name,
        note=checked.suite.note,
        folder=str(checked.folder),
        benchmarks=[_score(done[one.task]) for one in checked.suite.benchmarks],
    )


def _check(options: Options, reporter: Reporter) -> Checked:
    check_there(options.run)  # first: no option helps where there is nothing to measure
    suite = load_suite(options.suite).select(options.only, options.skip)
    roots = [Path(root) for root in options.data_roots]
    check(options, suite, roots)
    model = resolve(options.run)
    ledger = ledger_of(Path(options.run))
    served = options.backend in SERVERS
    device = "server" if served else pick_device(options.device)
    if not options.model_args:  # with them it may be spread, or loaded with fewer bits
        check_fits(model, device)
    if options.profile == "chat" or options.apply_chat_template:
        check_template(model)
    reporter.say(f"suite {suite.name}: {suite.note}")

    from adapt_eval.lm_harness.tasks import Tasks

    batch_size = options.batch_size
    if batch_size.startswith("auto") and device == "cpu":
        batch_size = "16"  # lm-eval finds a size by running out of GPU memory
    if batch_size.startswith("auto") and served:
        batch_size = "1"  # as lm-eval does: servers batch by themselves
    resolved = replace(options, device=device, batch_size=batch_size)
    reporter.say("resolved: " + json.dumps(asdict(resolved)))
    tasks = Tasks(suite.benchmarks, roots)
    folder = _folder(options, suite, model)
    identity = identity_of(model, resolved)
    benchmarks: list[tuple[Prepared, Fingerprint]] = []
    done: dict[str, BenchmarkResult] = {}
    for benchmark in suite.benchmarks:
        reporter.say(f"reading the data of {benchmark.task}")
        one = tasks.prepare(
            benchmark,
            options.profile == "chat",
            options.apply_chat_template,
            options.fewshot_as_multiturn,
        )
        if options.backend == CHAT:
            check_chat(benchmark.task, one.generates, one.template)
        fingerprint = fingerprint_of(identity, one)
        found = None if options.force else finished(folder, benchmark, fingerprint)
        if found is not None:
            done[benchmark.task] = found
        benchmarks.append((one, fingerprint))
    return Checked(resolved, suite, model, folder, identity, benchmarks, done, ledger)


def _measure(checked: Checked, reporter: Reporter, done: dict[str, BenchmarkResult]) -> None:
    """Measure and write what is missing; `done` gets it."""
    from adapt_eval.lm_harness import answers
    from adapt_eval.lm_harness.measure import measure
    from adapt_eval.lm_harness.model import build_model

    options, model = checked.options, checked.model
    built = build_model(
        options.backend,
        model.name,
        str(model.folder),
        str(model.adapter) if model.adapter else None,
        options.device,
        options.batch_size,
        options.dtype,
        parse_model_args(options.model_args),
    )
    for one, fingerprint in checked.benchmarks:
        task = one.benchmark.task
        if task in done:
            continue
        reporter.begin(task)
        started = time.monotonic()
        file = checked.folder / f"{task}.answers-{answers_hash(checked.identity)}.jsonl"
        if options.force:
            file.unlink(missing_ok=True)
        try:
            with answers.kept(built, file):
                measured = measure(
                    built, one, options.limit, options.allow_code_execution, reporter.items
                )
        except MemoryError as error:
            raise RunFailed(f"{task}: out of memory; use a smaller --batch-size") from error
        except RuntimeError as error:
            if "out of memory" not in str(error).lower():
                raise
            raise RunFailed(f"{task}: out of memory; use a smaller --batch-size") from error
        content = _result(one, fingerprint, measured, round(time.monotonic() - started, 1))
        done[task] = write_result(checked.folder, content, measured.rows)
        for left in checked.folder.glob(f"{glob.escape(task)}.answers-*.jsonl"):
            left.unlink()
        reporter.end(task, measured.score)


def _result(
    one: Prepared, fingerprint: Fingerprint, measured: Measured, seconds: float
) -> BenchmarkResult:
    benchmark = one.benchmark
    return BenchmarkResult(
        task=benchmark.task,
        family=benchmark.family,
        metric=benchmark.metric,
        score=measured.score,
        items=sum(bool(row["primary"]) for row in measured.rows),
        chance=benchmark.chance,
        floor=benchmark.floor,
        seconds=seconds,
        names=list(benchmark.names),
        clustered_by=benchmark.cluster,
        metrics=dict(measured.metrics),
        settings=dict(one.settings),
        data=dict(one.data),
        fingerprint=fingerprint,
    )


def _folder(options: Options, suite: Suite, model: Model) -> Path:
    if options.output:
        return Path(options.output)
    if Path(options.run).is_dir():
        return Path(options.run) / "eval" / suite.name
    return Path("eval") / model.name.replace("/", "__") / suite.name


def _plan(checked: Checked) -> Plan:
    from adapt_eval.statistics.power import FACTOR

    lines = []
    for one, _ in checked.benchmarks:
        items = one.items(checked.options.limit)
        effect = FACTOR * math.sqrt(_PLANNED_DISCORDANCE / items)
        lines.append(
            PlannedBenchmark(
                task=one.benchmark.task,
                items=items,
                data=dict(one.data),
                done=one.benchmark.task in checked.done,
                minimum_detectable_effect=round(effect, 4),
            )
        )
    return Plan(
        suite=checked.suite.name,
        folder=str(checked.folder),
        minimum_detectable_effect_for=(
            f"models that differ on {_PLANNED_DISCORDANCE:.0%} of the items"
        ),
        benchmarks=lines,
    )


def _score(content: BenchmarkResult) -> Score:
    return Score(**{key: getattr(content, key) for key in Score.model_fields})
