"""The texts of training rows, from every kind of local file that Axolotl reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapt_eval.schema import NotRead

# Ending -> loader of `datasets`; JSON is read line by line, so that one odd row hides no others.
_LOADERS = {
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
}
_PACKED = (".gz", ".bz2", ".xz", ".zst")
# What lies beside data and is none.
_BESIDE = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}
_BESIDE_ENDINGS = {".md", ".lock", ".py", ".yaml", ".yml"}


@dataclass
class TrainingTexts:
    """What was read, and what was not.

    Attributes:
        rows: training task -> texts of its rows.
        not_read: files and datasets that could not be read, each with the reason.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    not_read: list[NotRead] = field(default_factory=list)

    def add(self, task: str, file: Path) -> None:
        """Read a file as rows of a task, or note why it was not read."""
        try:
            found = list(row_texts(file))
        except (ValueError, OSError) as error:
            reason = str(error).strip().splitlines()
            self.not_read.append(NotRead(file=str(file), reason=reason[0] if reason else "damaged"))
            return
        self.rows.setdefault(task, []).extend(found)

    def miss(self, what: str, reason: str) -> None:
        """Note that something is not read."""
        self.not_read.append(NotRead(file=what, reason=reason))


def training_texts(run: Path) -> TrainingTexts:
    """Texts of the rows that the recipe of an ADAPT run names.

    Raises:
        ValueError: the run has no recipe, or none of its data can be read here.
    """
    import yaml

    config = run / "adapt" / "config.yml"
    if not config.is_file():
        raise ValueError(f"{run}: no adapt/config.yml; name the training data with --train DIR")
    recipe = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("recipe") or {}
    entries = recipe.get("datasets") or []
    # Axolotl drops keys that it does not know, so the resolved recipe keeps the names apart.
    names = (recipe.get("adapt") or {}).get("train_tasks") or [None] * len(entries)
    found = TrainingTexts()
    for entry, name in zip(entries, names, strict=True):
        task = str(name or entry.get("task") or entry.get("path"))
        files = _files_of(entry)
        if not files:
            found.miss(
                str(entry.get("path")),
                "is no file or folder here (relative paths count from where adapt-eval is called)",
            )
        for file in files:
            _add(found, task, file)
    if not found.rows:
        said = "; ".join(f"{one.file}: {one.reason}" for one in found.not_read) or "no datasets"
        raise ValueError(
            f"{run}: none of its training data can be read ({said}); name it with --train DIR"
        )
    return found


def texts_below(folder: Path) -> TrainingTexts:
    """Texts from DIR/<task>/* or DIR/<task>.*; validation rows too.

    Raises:
        ValueError: there is no file that can be read.
    """
    found = TrainingTexts()
    for file in _files_below(folder):
        task = _plain_name(file) if file.parent == folder else file.parent.name
        _add(found, task, file)
    if not found.rows:
        said = "; ".join(f"{one.file}: {one.reason}" for one in found.not_read)
        raise ValueError(
            f"--train {folder}: no data files in it that can be read"
            + (f" ({said})" if said else "")
            + f"; it takes {', '.join(_LOADERS)}, also compressed"
        )
    return found


def _add(found: TrainingTexts, task: str, file: Path) -> None:
    if _loader(file) is None:
        found.miss(str(file), f"is no kind of data file that is known ({', '.join(_LOADERS)})")
    else:
        found.add(task, file)


def _files_of(entry: Mapping[str, Any]) -> list[Path]:
    """The local files of a dataset entry."""
    place = Path(str(entry.get("path")))
    named = entry.get("data_files")
    if named:
        files = [Path(one) for one in ([named] if isinstance(named, str) else named)]
        here = [file if file.exists() else place / file for file in files]
        return [file for file in here if file.is_file()]
    return _files_below(place) if place.is_dir() else [place] if place.is_file() else []


def _files_below(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones and what lies beside data."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.name not in _BESIDE
        and file.suffix not in _BESIDE_ENDINGS
        and "LICENSE" not in file.name
    )


def _endings(file: Path) -> tuple[str, bool]:
    """(the ending that tells the kind of data, whether the file is compressed)."""
    packed = file.suffix in _PACKED
    return (Path(file.stem).suffix if packed else file.suffix), packed


def _plain_name(file: Path) -> str:
    return Path(file.stem).stem if _endings(file)[1] else file.stem


def _loader(file: Path) -> str | None:
    return _LOADERS.get(_endings(file)[0])


def row_texts(file: Path) -> Iterator[str]:
    """All strings of each row, joined.

    Raises:
        ValueError: the file is damaged, with the line where it is known.
        OSError: it cannot be opened.
    """
    ending, packed = _endings(file)
    if _LOADERS[ending] == "json" and not packed:
        yield from (" ".join(strings(row)) for row in _json_rows(file))
        return
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    options = {"sep": "\t"} if ending == ".tsv" else {}
    try:
        rows = load_dataset(
            _LOADERS[ending], data_files=str(file), split="train", streaming=True, **options
        )
        for row in rows:
            yield " ".join(strings(row))
    except (ArrowException, DatasetsError, EOFError, TypeError) as error:
        raise ValueError(f"is damaged: {error}") from error


def _json_rows(file: Path) -> Iterator[Any]:
    """A row a line, or the rows of one array."""
    with file.open(encoding="utf-8") as lines:
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
