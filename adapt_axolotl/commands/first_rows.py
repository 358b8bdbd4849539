"""What the first rows of a recipe's local files say before anything is tokenised: files that cannot
be read, columns that the type does not find, answers that are empty. Nothing of the recipe is run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt_axolotl.recipe.read import DATA_FILES, task_name

ROWS = 200  # of each file

_LOADERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
# Roles that are never trained on by default, in the names that Axolotl knows.
_PROMPTS = {"system", "user", "human", "tool", "input"}


@dataclass(frozen=True)
class _Entry:
    """A dataset entry with the first rows of its files."""

    where: str
    keys: Mapping[str, Any]
    rows: list[dict[str, Any]]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row))


def row_mistakes(recipe: Mapping[str, Any]) -> list[str]:
    """A sentence for each mistake, with the entry and what to do; only what is certain."""
    found = []
    rows_of_task: dict[str, int | None] = {}
    for key in ("datasets", "test_datasets"):
        for number, keys in enumerate(recipe.get(key) or []):
            if not isinstance(keys, Mapping):
                continue
            task = task_name(keys)
            where = f"{key}[{number}] ({keys.get('path')}) of task {task!r}"
            files = _local_files(keys)
            if not files and key == "datasets":
                rows_of_task[task] = None  # rows elsewhere: no one knows how many
            entry = _Entry(where, keys, [])
            for file in files:
                wrong = _read(file, keys, entry.rows)
                if wrong is not None:
                    found.append(f"{where}: its rows cannot be read: {wrong}; correct the file")
            if key == "datasets" and files and rows_of_task.get(task, 0) is not None:
                rows_of_task[task] = (rows_of_task.get(task) or 0) + len(entry.rows)
            if entry.rows:
                found += _check(entry)
    validated = {
        task_name(one) for one in recipe.get("test_datasets") or [] if isinstance(one, Mapping)
    }
    found += [
        f"task {task!r}: has one row, and no test_datasets; add rows, or give its entry "
        "the name of another task, so that the two are one"
        for task, rows in rows_of_task.items()
        if rows == 1 and task not in validated
    ]
    return [*found, *_budget(recipe)]


def _local_files(keys: Mapping[str, Any]) -> list[Path]:
    """Files that are here and that plain JSON, CSV or parquet readers read."""
    named = keys.get("data_files") or keys.get("path")
    paths = [Path(str(one)) for one in (named if isinstance(named, list) else [named])]
    return [path for path in paths if path.suffix in DATA_FILES and os.path.isfile(path)]


def _read(file: Path, keys: Mapping[str, Any], rows: list[dict[str, Any]]) -> str | None:
    """Add the first rows of a file; gives why it cannot be read, or None."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    from adapt_axolotl.data.unreadable import why_unreadable

    kind = str(keys.get("ds_type") or _LOADERS[file.suffix])
    if kind not in _LOADERS.values():
        return None
    try:
        stream = load_dataset(kind, data_files=str(file), split="train", streaming=True)
        rows += itertools.islice(stream, ROWS)
    except (ArrowException, DatasetsError, OSError, TypeError, ValueError) as error:
        return why_unreadable(error, {file: kind})
    return None


def _check(entry: _Entry) -> Iterator[str]:
    """Columns and answers, for the types whose needs are certain."""
    checks: dict[str, Callable[[_Entry], Iterator[str]]] = {
        "chat_template": _chat,
        "alpaca": _alpaca,
        "completion": _completion,
    }
    kind = entry.keys.get("type")
    if isinstance(kind, str) and kind in checks:
        yield from checks[kind](entry)


def _chat(entry: _Entry) -> Iterator[str]:
    field = str(entry.keys.get("field_messages") or "messages")
    if field not in entry.columns:
        yield _no_column(entry, field, "name the one with the messages under field_messages:")
        return
    mapping = entry.keys.get("message_property_mappings") or {}
    role = str(mapping.get("role") or entry.keys.get("message_field_role") or "role")
    content = str(mapping.get("content") or entry.keys.get("message_field_content") or "content")
    messages = [
        one
        for row in entry.rows
        for one in (row.get(field) or [])
        if isinstance(one, Mapping) and role in one and content in one
    ]
    trained = entry.keys.get("roles_to_train")
    answers = [
        one[content]
        for one in messages
        if (one[role] in trained if trained else one[role] not in _PROMPTS)
    ]
    if messages and not answers and not entry.keys.get("roles") and not trained:
        roles = ", ".join(dict.fromkeys(str(one[role]) for one in messages))
        yield f"{entry.where}: has no answers, its roles are {roles}; set roles: or roles_to_train:"
    yield from _empty(entry, answers)


def _alpaca(entry: _Entry) -> Iterator[str]:
    for column in ("instruction", "output"):
        if column not in entry.columns:
            yield _no_column(entry, column, "rename the column, or correct type:")
    if "output" in entry.columns:
        yield from _empty(entry, [row.get("output") for row in entry.rows])


def _completion(entry: _Entry) -> Iterator[str]:
    field = str(entry.keys.get("field") or "text")
    if field not in entry.columns:
        yield _no_column(entry, field, "name the one with the text under field:")
    else:
        yield from _empty(entry, [row.get(field) for row in entry.rows])


def _no_column(entry: _Entry, column: str, remedy: str) -> str:
    return (
        f"{entry.where}: type: {entry.keys['type']} reads the column {column}, and the rows have "
        f"only {', '.join(entry.columns)}; {remedy}"
    )


def _empty(entry: _Entry, answers: list[Any]) -> Iterator[str]:
    if answers and all(
        one is None or (isinstance(one, str) and not one.strip()) for one in answers
    ):
        yield (
            f"{entry.where}: every answer in its first {len(entry.rows)} rows is empty, so there "
            "is nothing to learn; correct the data, or the field_ keys"
        )


def _budget(recipe: Mapping[str, Any]) -> Iterator[str]:
    """A number of tokens that cannot hold one optimizer step: each of its rows has one at least."""
    block = recipe.get("adapt")
    budget = block.get("token_budget") if isinstance(block, Mapping) else None
    sizes = [recipe.get("gradient_accumulation_steps") or 1]
    if not recipe.get("sample_packing"):
        sizes.append(recipe.get("micro_batch_size") or 1)
    if isinstance(budget, bool) or not isinstance(budget, int):
        return
    if not all(isinstance(size, int) for size in sizes):
        return
    rows = int(sizes[0]) * int(sizes[-1] if len(sizes) > 1 else 1)
    if budget < rows:
        yield (
            f"adapt.token_budget: {budget:,} supervised tokens are fewer than one optimizer step "
            f"takes, which has {rows:,} rows; raise the budget, or lower micro_batch_size or "
            "gradient_accumulation_steps"
        )
