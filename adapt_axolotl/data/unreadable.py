"""Where a data file cannot be read and why, for the message to its user. Slow and thorough: it runs
only after reading has failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datasets import load_dataset
from datasets.exceptions import DatasetsError
from datasets.table import CastError

PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
_KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}


def why_unreadable(error: BaseException, files: Mapping[Path, str]) -> str:
    """One sentence: the file, the line where it can be found, and what is wrong there; what reading
    raised where no file is found to be at fault by itself.

    Args:
        error: that reading raised.
        files: those that were read, each with its loader; see `local_files`.
    """
    for file, kind in files.items():
        if kind == "json" and file.suffix not in PACKED:
            for line, wrong in _mistakes_of_json(file, _new_columns(error)):
                return f"{file}, line {line}: {wrong}"
        elif (alone := _fails(file, kind)) is not None:
            return f"{file}: {_one_line(_innermost(alone))}"
    return _one_line(_innermost(error))


def local_files(path: str, data_files: str | Sequence[str] | None, kind: str) -> dict[Path, str]:
    """The files on this machine that a dataset entry reads, each with its loader of `datasets`:
    json, csv, parquet, arrow or text.

    Args:
        path: of the entry; a file, a folder, or neither.
        data_files: of the entry.
        kind: the loader of its files; those of a folder are told by their names.
    """
    place = Path(path)
    if place.is_file():
        return {place: kind}
    if not place.is_dir():
        return {}
    named = [data_files] if isinstance(data_files, str) else list(data_files or ())
    if not named:
        found = sorted(file for file in place.rglob("*") if file.suffix in _KINDS)
        return {file: _KINDS[file.suffix] for file in found}
    return {Path(file): kind for file in named if Path(file).is_file()}


def _fails(file: Path, kind: str) -> Exception | None:
    """What reading one file to its end raises, or None."""
    try:
        for _ in load_dataset(kind, data_files=str(file), split="train", streaming=True):
            pass
    except (TypeError, ValueError, DatasetsError) as error:
        return error
    return None


def _mistakes_of_json(file: Path, new: set[str]) -> Iterator[tuple[int, str]]:
    """(line number from 1, what is wrong with it). `new` are columns that `datasets` did not expect
    after it had seen the first rows."""
    content = file.read_bytes()
    lines = content.splitlines()
    first = next((line for line in lines if line.strip()), b"")
    if file.suffix == ".json" and (first.lstrip().startswith(b"[") or not _is_json(first)):
        yield from _mistakes_of_document(content)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        mistakes = list(_mistakes_of_document(line))
        if mistakes:
            yield number, mistakes[0][1]
            continue
        row = json.loads(line)
        if not isinstance(row, Mapping):
            yield number, f"holds no object with columns but {_short(row)}"
        elif extra := sorted(new & set(row)):
            yield number, f"has the column {', '.join(extra)}, which the first rows do not have"


def _mistakes_of_document(content: bytes) -> Iterator[tuple[int, str]]:
    """At most one: the first."""
    try:
        json.loads(content)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        yield line, f"is not UTF-8 text (byte 0x{content[error.start]:02x})"
    except json.JSONDecodeError as error:
        yield error.lineno, f"is not JSON: {error.msg} (character {error.colno})"
    except RecursionError:
        yield 1, "is nested too deeply"


def _is_json(line: bytes) -> bool:
    return not list(_mistakes_of_document(line))


def _new_columns(error: BaseException) -> set[str]:
    """The columns that stopped `datasets`, if that is what did."""
    found = [one for one in _chain(error) if isinstance(one, CastError)]
    return {
        name
        for one in found
        for name in set(one.table_column_names) - {*one.requested_column_names}
    }


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, and so on."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _innermost(error: BaseException) -> BaseException:
    """What `datasets` wrapped: its own words say only that something failed."""
    while isinstance(error, DatasetsError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return _short(text or type(error).__name__)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."
