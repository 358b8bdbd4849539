"""Logs of Inspect (`.eval`), read by inspect_ai's own reader.

inspect_ai is not installed with this package; its newest releases want a newer pydantic than
Axolotl does, so the light install of docs/evaluation.md is the place for it.

Inspect has no hashes of what it asked. They are made here: of a sample's input and choices, of its
target, and of the messages up to the model's first answer. A sample that was asked in several
epochs is one item, with the mean of its scores.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adapt_eval.logs.log import Log, LoggedItem, LoggedTask, each_once, hash_of
from adapt_eval.schema import Identity, MeasuredModel

HARNESS = "Inspect"
REMEDY = "restore the file, or run inspect eval again"
_MEANS = ("accuracy", "mean")
# How fast answers came and how errors were met, not what was answered.
_NO_SETTINGS = {"max_connections", "adaptive_connections", "max_retries", "timeout"}
_NO_SETTINGS |= {"attempt_timeout", "batch", "cache", "logprobs", "top_logprobs"}
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class InspectLogs:
    """An `.eval` file, or a folder of those of one model."""

    def holds(self, place: Path) -> bool:
        """See `Format`."""
        return bool(_files(place))

    def read(self, place: Path) -> Log:
        """See `Format`."""
        found = [(file, _read(file)) for file in _files(place)]
        models = {str(one.eval.model) for _, one in found}
        if len(models) > 1:
            raise ValueError(
                f"{place}: has logs of different models ({', '.join(sorted(models))}); give one "
                "file, or a folder for each model"
            )
        tasks = each_once((_task(file, one) for file, one in found), place, "file")
        newest = found[-1][1]
        identity = _identity(newest)
        model = MeasuredModel(name=str(newest.eval.model), hash=identity.model)
        return Log(place, HARNESS, model, identity, tasks, str(newest.eval.created), REMEDY)


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix == ".eval" else []
    return sorted(place.glob("*.eval"))


def _read(file: Path) -> Any:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise ValueError(
            f"{file}: is a log of Inspect, and inspect_ai, which reads it, is not installed; pip "
            "install inspect_ai"
        ) from error
    try:
        log = read_eval_log(str(file))
    except _DAMAGED as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{file}: cannot be read ({said}); {REMEDY}") from error
    if log.status != "success":
        raise ValueError(
            f"{file}: its status is {log.status}, so not all samples were scored; finish it with "
            f"inspect eval-retry {file}"
        )
    if not log.samples:
        raise ValueError(
            f"{file}: has no samples; run inspect eval again, and not with --no-log-samples"
        )
    return log


def _identity(log: Any) -> Identity:
    spec = log.eval
    return Identity(
        model=hash_of([spec.model, spec.model_args, spec.model_base_url]),
        backend=str(spec.model).partition("/")[0],
        versions={name: str(version) for name, version in spec.packages.items()},
    )


def _task(file: Path, log: Any) -> LoggedTask:
    name = str(log.eval.task).rpartition("/")[2]
    metrics: dict[str, float] = {}
    for score in log.results.scores if log.results else ():
        for mean in _MEANS:
            if mean in score.metrics and score.reducer in (None, "mean"):
                metrics.setdefault(f"{score.name},none", float(score.metrics[mean].value))
    limit = log.eval.config.limit
    return LoggedTask(
        name=name,
        file=file,
        metrics=metrics,
        comparable=list(metrics),
        settings=_settings(name, log),
        limit=limit if isinstance(limit, int) else None,
        read=partial(_items, name, file, log),
        parts=[name],
    )


def _settings(name: str, log: Any) -> dict[str, Any]:
    spec, plan = log.eval, log.plan
    configs = [plan.config, getattr(spec, "model_generate_config", None)]
    generation: dict[str, Any] = {}
    for config in configs:
        if config is not None:
            generation.update(config.model_dump(mode="json", exclude_none=True))
    limits = {
        key: value
        for key, value in spec.config.model_dump(mode="json", exclude_none=True).items()
        if key in ("epochs", "message_limit", "token_limit", "time_limit", "working_limit")
    }
    return {
        "task": name,
        "version": str(spec.task_version),
        "arguments": dict(spec.task_args),
        "solver": [[step.solver, dict(step.params)] for step in plan.steps],
        "generation": {k: v for k, v in generation.items() if k not in _NO_SETTINGS},
        "scorers": [[one.name, dict(one.options or {})] for one in spec.scorers or []],
        "sandbox": spec.sandbox.type if spec.sandbox else None,
        **limits,
    }


def _items(name: str, file: Path, log: Any) -> list[LoggedItem]:
    """One for each sample, epochs averaged."""
    epochs: dict[Any, list[Any]] = {}
    for sample in log.samples:
        if sample.error is not None or not sample.scores:
            raise ValueError(
                f"{file}: sample {sample.id} has no score; finish it with inspect eval-retry {file}"
            )
        epochs.setdefault(sample.id, []).append(sample)
    return [_item(name, many) for many in epochs.values()]


def _item(name: str, epochs: Sequence[Any]) -> LoggedItem:
    first = epochs[0]
    found: dict[str, list[float]] = {}
    for sample in epochs:
        for key, value in _scores(sample.scores):
            found.setdefault(key, []).append(value)
    return LoggedItem(
        subtask=name,
        filter="none",
        doc_hash=hash_of([_messages(first.input), first.choices]),
        target_hash=hash_of(first.target),
        prompt_hash=hash_of(_messages(_asked(first.messages))),
        document=dict(first.metadata or {}),
        choices=len(first.choices or ()),
        scores={
            key: sum(values) / len(values)
            for key, values in found.items()
            if len(values) == len(epochs)
        },
    )


def _scores(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    for name, score in scores.items():
        if isinstance(score.value, Mapping):
            for key, value in score.value.items():
                yield key, number(value)
        elif not isinstance(score.value, list):
            yield name, number(score.value)


def _asked(messages: Sequence[Any]) -> Iterator[Any]:
    """Those before the model's first answer; answers of examples come with the input."""
    for message in messages:
        if message.role == "assistant" and message.source != "input":
            return
        yield message


def _messages(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [[message.role, message.text] for message in content]
