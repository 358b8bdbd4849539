"""Read the task files of a clone: one JSON object each, with its instances."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TaskFile:
    """What is known of a task file without its instances.

    Attributes:
        path: of the file.
        type: its first category, in lower case with underscores.
        english: whether inputs and outputs are English and nothing else.
        instances: how many.
        licences: of the instances, as the file names them; empty where it names none.
        sha256: of the file.
    """

    path: Path
    type: str
    english: bool
    instances: int
    licences: tuple[str, ...]
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Instance:
    """An instruction with its input, and the answer to learn: the first of several."""

    instruction: str
    input: str
    output: str


def find_task_files(clone: Path) -> list[Path]:
    """The task files of a clone, by name.

    Raises:
        ValueError: it is no clone of natural-instructions.
    """
    files = sorted((clone / "tasks").glob("task*.json"))
    if not files:
        raise ValueError(
            f"--source {clone}: has no tasks/task*.json; give a clone of "
            "https://github.com/allenai/natural-instructions"
        )
    return files


def read_header(path: Path) -> TaskFile:
    """
    Raises:
        ValueError: the file is damaged or not in the schema of natural-instructions.
    """
    data = path.read_bytes()
    task = _parse(path, data)
    return TaskFile(
        path,
        type=re.sub(r"\W+", "_", task["Categories"][0].strip().lower()).strip("_"),
        english=all(task[key] == ["English"] for key in ("Input_language", "Output_language")),
        instances=len(task["Instances"]),
        licences=tuple(_texts(task.get("Instance License", []))),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read_instances(path: Path) -> Iterator[Instance]:
    """The instances of a task file; those without an input or an answer are left out."""
    task = _parse(path, path.read_bytes())
    instruction = "\n".join(_texts(task["Definition"])).strip()
    for instance in task["Instances"]:
        answers = [text.strip() for text in _texts(instance.get("output") or [])]
        text = str(instance.get("input") or "").strip()
        if text and answers and answers[0]:
            yield Instance(instruction, text, answers[0])


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        task = json.loads(data)
    except ValueError as error:
        raise ValueError(
            f"{path}: is not JSON ({error}); restore it: git checkout {path.name}"
        ) from error
    needed = ("Categories", "Definition", "Input_language", "Output_language", "Instances")
    missing = [key for key in needed if not isinstance(task, dict) or key not in task]
    if missing:
        raise ValueError(
            f"{path}: has no {', '.join(missing)}; check out a version of the clone whose tasks "
            "have them (its default branch does)"
        )
    if not isinstance(task["Categories"], list) or not task["Categories"]:
        raise ValueError(f"{path}: Categories is empty; restore it: git checkout {path.name}")
    return task


def _texts(value: Any) -> list[str]:
    """Older files have a text where newer ones have a list of texts."""
    return [value] if isinstance(value, str) else [str(one) for one in value]
