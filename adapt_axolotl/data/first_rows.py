"""The first rows of a data file, as training would read them, without reading all of it."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import load_dataset

ROWS = 200
# Loaders that read data and nothing else.
KINDS = ("json", "csv", "parquet")
# `datasets` takes the columns of a JSON file from so many bytes at its start.
_FIRST_BYTES = 10 << 20
# A JSON file that must be read whole, because it is one document or has a mistake, is read up to
# this size.
_WHOLE_BYTES = 256 << 20
_OPTIONS: dict[str, dict[str, int]] = {
    "csv": {"chunksize": ROWS + 1},
    "parquet": {"batch_size": ROWS + 1},
}


@dataclass(frozen=True)
class FirstRows:
    """
    Attributes:
        rows: the first `ROWS` at most, by column.
        columns: of all rows.
        whole: there are no other rows.
        files: they were read from, each with the number of its rows among these.
    """

    rows: list[Mapping[str, Any]]
    columns: frozenset[str]
    whole: bool
    files: tuple[tuple[Path, int], ...]

    def place(self, row: int) -> str:
        """The file of a row, counted from 0, and its line there, where it has one of its own."""
        for file, rows in self.files:
            if row < rows:
                line = _line(file, row)
                return f"{file}, row {row + 1}" if line is None else f"{file}, line {line}"
            row -= rows
        raise IndexError(row)


def first_rows(file: Path, kind: str) -> FirstRows | None:
    """
    Args:
        file: not compressed.
        kind: its loader, of `KINDS`.

    Returns:
        None where it is too large to tell.

    Raises:
        TypeError, ValueError, DatasetsError: training cannot read it either.
    """
    size = file.stat().st_size
    if kind != "json" or size <= _FIRST_BYTES:
        return _read(file, kind)
    with file.open("rb") as content:
        document = content.read(1) == b"["
    if not document:
        try:
            with _beginning(file) as part:
                first = _read(part, kind, whole=False)
                return replace(first, files=((file, len(first.rows)),))
        except (TypeError, ValueError):
            pass  # perhaps only because it ends too early
    return _read(file, kind) if size <= _WHOLE_BYTES else None


def _read(file: Path, kind: str, *, whole: bool = True) -> FirstRows:
    stream = load_dataset(
        kind, data_files=str(file), split="train", streaming=True, **_OPTIONS.get(kind, {})
    )
    rows = list(itertools.islice(stream, ROWS + 1))
    columns = frozenset(itertools.chain(stream.column_names or (), *rows))
    whole = whole and len(rows) <= ROWS
    rows = rows[:ROWS]
    return FirstRows(rows, columns, whole, ((file, len(rows)),))


def _line(file: Path, row: int) -> int | None:
    """The number of a row's line in a file of JSON lines; None in others."""
    with file.open("rb") as content:
        for number, line in enumerate(content, start=1):
            if not line.strip():
                continue
            try:
                is_row = isinstance(json.loads(line), Mapping)
            except ValueError:
                is_row = False
            if not is_row:
                return None
            if row == 0:
                return number
            row -= 1
    return None


@contextmanager
def _beginning(file: Path) -> Iterator[Path]:
    """A copy of what `datasets` reads first: so many bytes, and the rest of the line."""
    handle, name = tempfile.mkstemp(suffix=file.suffix)
    try:
        with os.fdopen(handle, "wb") as part, file.open("rb") as content:
            part.write(content.read(_FIRST_BYTES))
            part.write(content.readline(_FIRST_BYTES))
        yield Path(name)
    finally:
        os.unlink(name)
