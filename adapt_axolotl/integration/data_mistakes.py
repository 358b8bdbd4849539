"""What the first rows of a recipe's files tell before anything of the recipe is run."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets.exceptions import DatasetsError

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.data.first_rows import KINDS, ROWS, FirstRows, first_rows
from adapt_axolotl.data.split import CarveRequest, carve_validation
from adapt_axolotl.data.unreadable import PACKED, why_unreadable
from adapt_axolotl.integration.chat_rows import (
    conversations,
    without_answers,
    without_messages,
    without_roles,
    without_trained_role,
)
from adapt_axolotl.integration.row_types import ColumnsRead, columns_read
from adapt_axolotl.recipe.names import task_name
from adapt_axolotl.recipe.read import read_recipe

# As Axolotl tells a file's loader where ds_type: does not.
_LOADERS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text"}
_TOKENISED = {"input_ids", "attention_mask", "labels"}


class Said(NamedTuple):
    """One sentence, and whether training is certain to stop there."""

    text: str
    certain: bool = True


def data_mistakes(recipe: Mapping[str, Any]) -> list[Said]:
    """Of the local files of a recipe, which stays as it is."""
    raw = copy.deepcopy(dict(recipe))
    try:
        adapt = read_recipe(raw)  # which also writes expanded paths into it
    except ValueError:
        adapt = None  # told by others; files are looked at all the same
    found: list[Said] = []
    rows_of_task: dict[str, int | None] = {}
    read: dict[tuple[str, str], FirstRows | None] = {}
    for key in ("datasets", "test_datasets"):
        for index, entry in enumerate(raw.get(key) or []):
            if not isinstance(entry, Mapping):
                continue
            task = task_name(entry)
            where = f"{key}[{index}] ({entry.get('path')}) of task {task!r}"
            try:
                first = _first_rows(entry, read)
            except ValueError as error:
                found.append(Said(f"{where}: {error}"))
                first = None
            else:
                found += [
                    Said(f"{where}: {text}", certain)
                    for text, certain in _of_entry(raw, entry, first)
                ]
            if key == "datasets":
                before, rows = rows_of_task.get(task, 0), _rows(entry, first)
                rows_of_task[task] = None if before is None or rows is None else before + rows
    if adapt is not None:
        found += map(Said, _too_small(adapt, rows_of_task))
    return found


def loader_of(entry: Mapping[str, Any]) -> str:
    """The loader of `datasets` for a file, as Axolotl chooses it."""
    if entry.get("ds_type"):
        return str(entry["ds_type"])
    return next((kind for end, kind in _LOADERS.items() if end in str(entry["path"])), "json")


def _first_rows(
    entry: Mapping[str, Any], read: dict[tuple[str, str], FirstRows | None]
) -> FirstRows | None:
    """Of an entry that is a file, or files in a folder, which can be looked at; None of others.

    Raises:
        ValueError: it cannot be read, and why.
    """
    found = []
    for file in _files(entry):
        kind = loader_of(entry)
        if (str(file), kind) not in read:
            try:
                read[str(file), kind] = first_rows(file, kind)
            except PermissionError as error:
                raise ValueError(f"{file} may not be read; see to its permissions") from error
            except (TypeError, ValueError, DatasetsError) as error:
                why = why_unreadable(error, {file: kind})
                raise ValueError(
                    f"cannot be read: {why}; correct it there, or remove the entry"
                ) from error
        found.append(read[str(file), kind])
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    return FirstRows(
        [row for one in known for row in one.rows],
        frozenset().union(*(one.columns for one in known)),
        all(one.whole for one in known),
        tuple(file for one in known for file in one.files),
    )


def _files(entry: Mapping[str, Any]) -> list[Path]:
    """What Axolotl reads for an entry, if these are local files that can be looked at."""
    path, named = entry.get("path"), entry.get("data_files") or []
    if not isinstance(path, str) or loader_of(entry) not in KINDS:
        return []
    inside = [named] if isinstance(named, str) else named
    files = [Path(str(one)) for one in (inside if os.path.isdir(path) else [path])]
    # An empty file is told by its size.
    plain = all(
        os.path.isfile(file) and file.suffix not in PACKED and file.stat().st_size for file in files
    )
    return files if plain else []


def _of_entry(
    raw: Mapping[str, Any], entry: Mapping[str, Any], first: FirstRows | None
) -> Iterator[Said]:
    if first is None:
        return
    split = str(entry.get("split") or "train")
    if re.split(r"[\[+]", split)[0].strip() != "train":
        yield Said(
            f"files have one split, train, and split: asks for {split}; write split: train, or "
            "remove the key"
        )
    if not first.rows:
        yield Said("it has no rows; remove the entry or fill the file")
        return
    reads = columns_read(entry)
    if reads is None or raw.get("skip_prepare_dataset") or first.columns >= _TOKENISED:
        return
    for column, key in reads.needed.items():
        if column not in first.columns:
            yield Said(_no_column(entry, first, column, key))
            return
    whole = first.whole and split == "train"
    which = "" if whole else f" in its first {len(first.rows)} rows"
    if entry.get("type") == "chat_template":
        yield from _of_conversations(raw, entry, first, whole=whole, which=which)
    elif reads.completion or not raw.get("train_on_inputs"):
        yield from _of_answers(entry, reads, first, whole=whole, which=which)


def _of_answers(
    entry: Mapping[str, Any], reads: ColumnsRead, first: FirstRows, *, whole: bool, which: str
) -> Iterator[Said]:
    column = reads.answer
    if column is None or any(row.get(column) not in (None, "") for row in first.rows):
        return
    if column not in first.columns:  # Axolotl takes it for empty
        yield Said(_no_column(entry, first, column, reads.answer_key))
        return
    yield Said(
        f"the column {column}, which is learned, is empty in every row{which}; correct type:, or "
        "the file",
        whole,
    )


def _of_conversations(
    raw: Mapping[str, Any],
    entry: Mapping[str, Any],
    first: FirstRows,
    *,
    whole: bool,
    which: str,
) -> Iterator[Said]:
    if bad := without_messages(entry, first.rows):
        number, wrong = bad[0]
        others = len(bad) - 1
        more = f" (and {others} more row{'s' * (others > 1)} like this)" if others else ""
        # Of a part of the rows it may not be one.
        certain = str(entry.get("split") or "train") == "train" and not entry.get("shards")
        yield Said(f"{first.place(number)}: {wrong}{more}; correct or remove it", certain)
    messages = conversations(entry, first.rows)
    if (text := without_roles(entry, messages)) is not None:
        yield Said(text)
        return
    if raw.get("train_on_inputs"):
        return
    if (text := without_trained_role(entry, messages)) is not None:
        yield Said(text if whole else f"{text} (seen in its first {ROWS} rows only)", whole)
    elif (text := without_answers(entry, messages)) is not None:
        yield Said(f"{text}{which}; fill them, or correct message_property_mappings:", whole)


def _no_column(entry: Mapping[str, Any], first: FirstRows, column: str, key: str | None) -> str:
    kind = entry.get("type")
    meant = "its type: block" if isinstance(kind, Mapping) else f"type: {kind}"
    remedy = "correct type:, or the file" if key is None else f"correct type: or {key}:"
    return (
        f"{meant} reads the column {column}, which is not there; the columns are "
        f"{', '.join(sorted(first.columns))}: {remedy}"
    )


def _rows(entry: Mapping[str, Any], first: FirstRows | None) -> int | None:
    """How many rows an entry gives at most; None where that is not known."""
    reads = columns_read(entry)
    one_each = (
        reads is not None and not reads.completion and isinstance(entry.get("name"), str | None)
    )
    if first is None or not first.whole or not one_each:
        return None
    return len(first.rows)


def _too_small(adapt: AdaptConfig, rows_of_task: Mapping[str, int | None]) -> Iterator[str]:
    """Tasks without rows to validate on that are too small to give some."""
    request = CarveRequest(adapt.val_examples, adapt.val_fraction)
    for task, rows in rows_of_task.items():
        if not rows or task in adapt.test_tasks:
            continue
        # Only some of them may be distinct.
        if all(2 * request.rows(distinct) > distinct for distinct in range(1, rows + 1)):
            try:
                carve_validation(task, np.arange(rows), request, seed=0)
            except ValueError as error:
                yield str(error)
