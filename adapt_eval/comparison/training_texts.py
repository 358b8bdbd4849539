"""The texts of training rows, from every kind of local file that Axolotl reads."""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapt_eval.comparison.training_files import (
    LOADERS,
    Listing,
    TrainingFile,
    files_below,
    files_of_run,
    is_packed,
)
from adapt_eval.schema import NotRead


@dataclass
class TrainingTexts:
    """What was read, and what was not.

    Attributes:
        rows: training task -> texts of its rows.
        not_read: files and datasets that could not be read, each with the reason.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    not_read: list[NotRead] = field(default_factory=list)

    @property
    def why(self) -> str:
        """What was not read and why, as one text."""
        return "; ".join(f"{one.file}: {one.reason}" for one in self.not_read)


def training_texts(run: Path) -> TrainingTexts:
    """Texts of the rows that the recipe of an ADAPT run names.

    Raises:
        ValueError: the run has no recipe, or none of its data can be read here.
    """
    found = _read(files_of_run(run))
    if not found.rows:
        raise ValueError(
            f"{run}: none of its training data can be read ({found.why or 'no datasets'}); "
            "name it with --train DIR"
        )
    return found


def texts_below(folder: Path) -> TrainingTexts:
    """Texts from DIR/<task>/** and DIR/<task>.*; validation rows too.

    Raises:
        ValueError: there is no file that can be read.
    """
    if not folder.is_dir():
        raise ValueError(f"--train {folder}: no such directory; give one with a folder for a task")
    found = _read(files_below(folder))
    if not found.rows:
        raise ValueError(
            f"--train {folder}: no data files in it that can be read"
            + (f" ({found.why})" if found.why else "")
            + f"; it takes {', '.join(LOADERS)}, also compressed"
        )
    return found


def _read(listing: Listing) -> TrainingTexts:
    """The texts of all files; those that are damaged or empty join what is not read."""
    found = TrainingTexts(not_read=listing.not_read)
    with _quiet_datasets():
        for file in listing.files:
            try:
                texts = list(row_texts(file))
                reason = "holds no rows"
            except RecursionError:
                texts, reason = [], "a row is nested too deeply"
            except (ValueError, OSError) as error:
                said = str(error).strip().splitlines()
                texts, reason = [], said[0] if said else "is damaged"
            if texts:
                found.rows.setdefault(file.task, []).extend(texts)
            else:
                found.not_read.append(NotRead(file=str(file.path), reason=reason))
    return found


def row_texts(file: TrainingFile) -> Iterator[str]:
    """All strings of each row, joined.

    Raises:
        ValueError: the file is damaged, with the line where it is known.
        OSError: it cannot be opened.
    """
    if file.loader == "json" and not is_packed(file.path):
        # Line by line, so that rows may have any keys and types.
        yield from (" ".join(strings(row)) for row in _json_rows(file.path))
        return
    from datasets import load_dataset

    options = {"sep": "\t"} if ".tsv" in file.path.suffixes else {}
    try:
        rows = load_dataset(
            file.loader, data_files=str(file.path), split="train", streaming=True, **options
        )
        for row in rows:
            yield " ".join(strings(row))
    except _of_damage() as error:
        raise ValueError(f"is damaged: {error}") from error


def _of_damage() -> tuple[type[Exception], ...]:
    """What `datasets` lets through of the readers and decompressors below it."""
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    found = [ArrowException, DatasetsError, EOFError, TypeError, zlib.error, lzma.LZMAError]
    if find_spec("zstandard"):
        from zstandard import ZstdError

        found.append(ZstdError)
    return tuple(found)


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """What `datasets` logs of a damaged file is said by us, once."""
    from datasets import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _json_rows(file: Path) -> Iterator[Any]:
    """A row a line, or the rows of one array."""
    with file.open(encoding="utf-8-sig") as lines:
        start = lines.read(1)
        while start.isspace():
            start = lines.read(1)
        lines.seek(0)
        if start == "[":
            try:
                yield from json.load(lines)
                return
            except ValueError as error:
                raise ValueError(f"is not JSON: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number} is not JSON: {error}") from error


def strings(value: Any) -> Iterator[str]:
    """All strings inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
