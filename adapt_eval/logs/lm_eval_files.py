"""The two kinds of files that lm-eval writes, as types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from adapt_eval.logs.log import LoggedItem
from adapt_eval.parsing import parse
from adapt_eval.schema import Record


class Config(Record):
    """How `lm_eval` was called."""

    model: str | None = None
    model_args: Any = None
    model_sha: str | None = None
    batch_size: Any = None
    device: Any = None
    limit: float | None = None
    random_seed: int | None = None
    numpy_seed: int | None = None
    torch_seed: int | None = None
    fewshot_seed: int | None = None

    def arguments(self) -> dict[str, Any]:
        """Of the model; they are a mapping or, in older logs, `a=b,c=d`."""
        if isinstance(self.model_args, Mapping):
            return dict(self.model_args)
        pairs = (one.partition("=") for one in str(self.model_args or "").split(",") if one)
        return {key: value for key, _, value in pairs}

    def seeds(self) -> dict[str, int | None]:
        """By the names that `adapt-eval run` gives them."""
        return {
            "random": self.random_seed,
            "numpy": self.numpy_seed,
            "torch": self.torch_seed,
            "fewshot": self.fewshot_seed,
        }


class Results(Record):
    """`results_*.json`.

    Attributes:
        results: task or group -> `metric,filter` -> score, and other things.
        configs: task -> its config as it was used.
        group_subtasks: group -> its parts; task -> nothing.
        task_hashes: task -> hash over the hashes of all its samples; only with --log_samples.
    """

    results: dict[str, dict[str, Any]]
    configs: dict[str, dict[str, Any]]
    versions: dict[str, Any] = Field({})
    n_shot: dict[str, Any] = Field({}, alias="n-shot")
    n_samples: dict[str, dict[str, int]] = Field({}, alias="n-samples")
    higher_is_better: dict[str, dict[str, bool | None]] = Field({})
    group_subtasks: dict[str, list[str]] = Field({})
    config: Config
    task_hashes: dict[str, str] = Field({})
    date: float | None = None
    lm_eval_version: str
    transformers_version: str | None = None
    model_name: str | None = None
    chat_template: Any = None
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None

    def shots(self, leaf: str) -> int:
        """Examples in the prompts of a task."""
        said = self.n_shot.get(leaf, self.configs[leaf].get("num_fewshot"))
        return int(said or 0)

    def limit(self, leaves: Sequence[str]) -> int | None:
        """First items of each task; None where all were asked."""
        limit = self.config.limit
        if limit is None or limit >= 1:
            return None if limit is None else int(limit)
        return max(self.n_samples.get(leaf, {}).get("effective", 0) for leaf in leaves) or None

    def measured(self) -> str:
        """The time, ISO 8601."""
        if self.date is None:
            return ""
        return datetime.fromtimestamp(self.date, UTC).isoformat(timespec="seconds")


class _Sample(Record):
    """A line of `samples_*.jsonl`; its metrics stand beside these keys."""

    doc: Any = None
    arguments: Any = None
    filter: str
    doc_hash: str
    target_hash: str
    prompt_hash: str


def read_results(file: Path, remedy: str) -> Results:
    """
    Raises:
        ValueError: it is damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); {remedy}") from error
    return parse(Results, content, file, remedy)


def read_samples(file: Path, leaf: str, remedy: str) -> list[LoggedItem]:
    """
    Raises:
        ValueError: it is missing or a line of it is damaged.
    """
    if not file.is_file():
        raise ValueError(f"{file}: is missing, so nothing is known of the items; {remedy}")
    items = []
    with file.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                where = f"{file}, line {number}"
                try:
                    content = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{where}: is not JSON ({error}); {remedy}") from error
                items.append(_item(leaf, parse(_Sample, content, where, remedy)))
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: is not text ({error}); {remedy}") from error
    if not items:
        raise ValueError(f"{file}: has no items; {remedy}")
    return items


def _item(leaf: str, sample: _Sample) -> LoggedItem:
    beside = sample.model_extra or {}
    names = beside.get("metrics")
    named = names if isinstance(names, list) else beside
    scores = {name: _number(beside.get(name)) for name in named}
    return LoggedItem(
        subtask=leaf,
        filter=sample.filter,
        doc_hash=sample.doc_hash,
        target_hash=sample.target_hash,
        prompt_hash=sample.prompt_hash,
        document=sample.doc if isinstance(sample.doc, dict) else {},
        choices=_choices(sample.arguments),
        scores={name: score for name, score in scores.items() if score is not None},
    )


def _number(value: Any) -> float | None:
    """lm-eval writes a number of NumPy's that JSON does not know as text."""
    if isinstance(value, str):
        value = {"True": True, "False": False}.get(value, value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _choices(arguments: Any) -> int:
    """How many answers were ranked: one request for each."""
    asked = list(arguments.values()) if isinstance(arguments, dict) else []
    return len(asked) if len(asked) > 1 else 0
