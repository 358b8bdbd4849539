"""What is read from a log, whichever harness wrote it, and what a reader of one has to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from adapt_eval.schema import Identity, MeasuredModel, Record


class LoggedItem(Record):
    """One item under one filter.

    Attributes:
        subtask: the task itself, where it is no group.
        doc_hash, target_hash, prompt_hash: tell one question from another.
        document: its columns.
        choices: answers to choose from; 0 where the answer is generated.
        scores: metric -> score, of those that are numbers.
    """

    subtask: str
    filter: str
    doc_hash: str
    target_hash: str
    prompt_hash: str
    document: dict[str, Any] = Field({})
    choices: int = 0
    scores: dict[str, float]


@dataclass(frozen=True)
class LoggedTask:
    """A task or group of tasks, not yet known as a benchmark of a suite.

    Attributes:
        name: the harness's.
        file: that tells its score, for messages.
        metrics: `metric,filter` -> the score that the harness reports.
        comparable: those of them that are means over items and of which more is better, as far as
            the log tells; the first is what the task is about.
        settings: what two logs must share to be comparable, but for the metric.
        scoring: `metric,filter` -> how it is computed, where the log tells; a setting of the metric
            that is compared.
        limit: first items of each task; None is all.
        read: reads the items.
        parts: tasks that it is made of; itself, where it is no group.
        inside: whether it is part of a group of the log.
    """

    name: str
    file: Path
    metrics: Mapping[str, float]
    comparable: Sequence[str]
    settings: Mapping[str, Any]
    limit: int | None
    read: Callable[[], list[LoggedItem]] = field(repr=False)
    parts: Sequence[str] = ()
    inside: bool = False
    scoring: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def items(self) -> list[LoggedItem]:
        """Its items.

        Raises:
            ValueError: a file is missing or damaged.
        """
        return self.read()


@dataclass(frozen=True)
class Log:
    """One model's results.

    Attributes:
        place: as the user gave it.
        harness: what asked the questions.
        identity: model and circumstances, as far as the log tells them.
        made: time of the measurement, ISO 8601, or empty.
        remedy: completes a message about something that the log lacks.
    """

    place: Path
    harness: str
    model: MeasuredModel
    identity: Identity
    tasks: Mapping[str, LoggedTask]
    made: str
    remedy: str


class Format(Protocol):
    """A kind of log. A new one is a module with a class of these methods, and a line in
    `formats.py`."""

    def holds(self, place: Path) -> bool:
        """Whether a file or folder looks like one, damaged or not."""

    def read(self, place: Path) -> Log:
        """
        Raises:
            ValueError: it is damaged, or does not hold what a comparison needs.
        """


def each_once(tasks: Iterable[LoggedTask], place: Path, files: str) -> dict[str, LoggedTask]:
    """Tasks by their names.

    Args:
        place: as the user gave it.
        files: what one of them is called, for the message.

    Raises:
        ValueError: a task is there twice.
    """
    found: dict[str, LoggedTask] = {}
    for task in tasks:
        if task.name in found:
            raise ValueError(
                f"{place}: {task.name} was measured twice, in {found[task.name].file.name} and in "
                f"{task.file.name}; give one {files}, or move one away"
            )
        found[task.name] = task
    return found


def hash_of(content: Any) -> str:
    """SHA-256 of plain data."""
    text = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
