"""Evaluate one model on a suite, a benchmark at a time, so that a killed run can go on."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt_eval import mirror
from adapt_eval.errors import RunFailed
from adapt_eval.identity import fingerprint_of, finished, identity_of, write_manifest
from adapt_eval.model import Model, check_fits, read_object, resolve
from adapt_eval.progress import Reporter
from adapt_eval.results import read_json, write_result
from adapt_eval.suite import PUNKT, Suite, load_suite

if TYPE_CHECKING:
    from adapt_eval.harness import Prepared, Tasks

# Share of items on which two similar models differ: what a plan takes for want of results.
_PLANNED_DISCORDANCE = 0.1
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Options:
    """What `adapt-eval run` was asked for; stored in the manifest as it was resolved.

    Attributes:
        run: model directory, adapter, output directory of a run, or Hub name.
        suite: name or file.
        only: benchmarks to measure; all when empty. `skip` leaves some out.
        output: where results go; None is `<run>/eval/<suite>`.
        data_roots: mirrors of datasets.
        limit: items of each task; None is all.
        profile: `chat` asks for generated answers through the chat template.
        batch_size: a number or `auto`.
        backend: `hf` or `vllm`.
    """

    run: str
    suite: str = "ood11"
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    output: str | None = None
    data_roots: Sequence[str] = ()
    limit: int | None = None
    profile: str = "base"
    batch_size: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    backend: str = "hf"
    allow_code_execution: bool = False
    force: bool = False


def plan_and_run(options: Options, reporter: Reporter, dry: bool = False) -> dict[str, Any]:
    """Check everything that can be checked without a model, then measure what is missing.

    Args:
        dry: stop after the checks.

    Returns:
        A summary: the plan, or the scores.

    Raises:
        ValueError: something asked for cannot be.
        RunFailed: data, network or memory are missing.
    """
    suite = load_suite(options.suite).select(options.only, options.skip)
    roots = [Path(root) for root in options.data_roots]
    _check(options, suite, roots)
    model = resolve(options.run)
    device = _device(options.device)
    check_fits(model, device)
    if options.profile == "chat":
        _check_template(model)
    reporter.say(f"suite {suite.name}: {suite.note}")

    from adapt_eval.harness import Tasks

    batch_size = options.batch_size
    if batch_size == "auto" and device == "cpu":
        batch_size = "16"  # lm-eval finds a size by running out of GPU memory
    resolved = {**asdict(options), "device": device, "batch_size": batch_size}
    reporter.say("resolved: " + json.dumps(resolved))
    tasks = Tasks(suite.benchmarks, roots)
    folder = _folder(options, suite, model)
    identity = identity_of(model, resolved)
    prepared: list[tuple[Prepared, dict[str, Any]]] = []
    done: dict[str, Mapping[str, Any]] = {}
    for benchmark in suite.benchmarks:
        reporter.say(f"reading the data of {benchmark.task}")
        one = tasks.prepare(benchmark, options.profile == "chat")
        fingerprint = fingerprint_of(identity, one)
        found = None if options.force else finished(folder, benchmark, fingerprint)
        if found is not None:
            done[benchmark.task] = found
        prepared.append((one, fingerprint))
    if dry:
        return _plan(suite, folder, prepared, done, options.limit)
    missing = [(one, mark) for one, mark in prepared if one.benchmark.task not in done]
    if missing:
        write_manifest(folder, suite, model, identity, resolved)
        reporter.start(len(suite.benchmarks), len(done))
        _measure(tasks, missing, folder, model, resolved, reporter, done)
    order = [one.task for one in suite.benchmarks]
    return {
        "suite": suite.name,
        "note": suite.note,
        "folder": str(folder),
        "benchmarks": [_line(done[task]) for task in order],
    }


def _measure(
    tasks: Tasks,
    missing: Sequence[tuple[Prepared, dict[str, Any]]],
    folder: Path,
    model: Model,
    resolved: dict[str, Any],
    reporter: Reporter,
    done: dict[str, Mapping[str, Any]],
) -> None:
    from adapt_eval.harness import build_model

    built = build_model(
        resolved["backend"],
        str(model.folder),
        str(model.adapter) if model.adapter else None,
        resolved["device"],
        resolved["batch_size"],
        resolved["dtype"],
    )
    for one, fingerprint in missing:
        task = one.benchmark.task
        reporter.begin(task)
        started = time.monotonic()
        try:
            measured = tasks.measure(
                built, one, resolved["limit"], resolved["allow_code_execution"], reporter.items
            )
        except MemoryError as error:
            raise RunFailed(f"{task}: out of memory; use a smaller --batch-size") from error
        except RuntimeError as error:
            if "out of memory" not in str(error).lower():
                raise
            raise RunFailed(f"{task}: out of memory; use a smaller --batch-size") from error
        seconds = round(time.monotonic() - started, 1)
        content = _content(one, fingerprint, measured.score, measured.metrics, seconds)
        content["items"] = sum(bool(row["primary"]) for row in measured.rows)
        write_result(folder, task, content, measured.rows)
        done[task] = read_json(folder / f"{task}.json")
        reporter.end(task, measured.score)


def _content(
    one: Prepared, fingerprint: dict[str, Any], score: float, metrics: Any, seconds: float
) -> dict[str, Any]:
    benchmark = one.benchmark
    return {
        "task": benchmark.task,
        "family": benchmark.family,
        "metric": benchmark.metric,
        "score": score,
        "chance": benchmark.chance,
        "floor": benchmark.floor,
        "names": list(benchmark.names),
        "clustered_by": benchmark.cluster,
        "metrics": dict(metrics),
        "settings": dict(one.settings),
        "data": dict(one.data),
        "fingerprint": fingerprint,
        "seconds": seconds,
    }


def _check(options: Options, suite: Suite, roots: Sequence[Path]) -> None:
    mirror.check_roots(roots)
    if options.profile not in ("base", "chat"):
        raise ValueError(f"--profile {options.profile}: there are base and chat")
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit {options.limit}: at least 1")
    if options.batch_size != "auto" and not re.fullmatch("[1-9][0-9]*", options.batch_size):
        raise ValueError(f"--batch-size {options.batch_size}: a number of 1 or more, or auto")
    if options.dtype not in _DTYPES:
        raise ValueError(f"--dtype {options.dtype}: there are {', '.join(_DTYPES)}")
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu|npu)(:\d+)?", options.device):
        raise ValueError(f"--device {options.device}: there are auto, cpu, mps, cuda, cuda:1...")
    coding = [one.task for one in suite.benchmarks if one.runs_code]
    if coding and not options.allow_code_execution:
        skips = " ".join(f"--skip {task}" for task in coding)
        raise ValueError(
            f"{', '.join(coding)}: scoring runs programs that the model writes. Add "
            f"--allow-code-execution (see docs/evaluation.md for what holds them), or {skips}"
        )
    wanting = [one.task for one in suite.benchmarks if PUNKT in one.needs]
    if wanting and not mirror.use_nltk_data(roots):
        raise ValueError(
            f"{', '.join(wanting)}: needs NLTK's punkt_tab; set NLTK_DATA to a folder that has it, "
            f"let adapt-eval fetch get it, or --skip {wanting[0]}"
        )


def _check_template(model: Model) -> None:
    for folder in reversed(model.folders):
        config = folder / "tokenizer_config.json"
        if (folder / "chat_template.jinja").is_file():
            return
        if config.is_file() and read_object(config).get("chat_template"):
            return
    raise ValueError(f"{model.name}: its tokenizer has no chat template; use --profile base")


def _device(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _folder(options: Options, suite: Suite, model: Model) -> Path:
    if options.output:
        return Path(options.output)
    if Path(options.run).is_dir():
        return Path(options.run) / "eval" / suite.name
    return Path("eval") / model.name.replace("/", "__") / suite.name


def _plan(
    suite: Suite,
    folder: Path,
    prepared: Sequence[tuple[Prepared, dict[str, Any]]],
    done: dict[str, Mapping[str, Any]],
    limit: int | None,
) -> dict[str, Any]:
    from adapt_eval.statistics.power import FACTOR

    lines = []
    for one, _ in prepared:
        items = one.items(limit)
        effect = FACTOR * math.sqrt(_PLANNED_DISCORDANCE / items)
        lines.append(
            {
                "task": one.benchmark.task,
                "items": items,
                "data": dict(one.data),
                "done": one.benchmark.task in done,
                "minimum_detectable_effect": round(effect, 4),
            }
        )
    assumed = f"models that differ on {_PLANNED_DISCORDANCE:.0%} of the items"
    return {
        "suite": suite.name,
        "folder": str(folder),
        "minimum_detectable_effect_for": assumed,
        "benchmarks": lines,
    }


def _line(content: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("task", "family", "metric", "score", "items", "chance", "floor", "seconds")
    return {key: content[key] for key in keys}
