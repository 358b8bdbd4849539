"""The prepared folder: tokenised rows of all tasks, kept between runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import DatasetDict, load_from_disk

_READ = "adapt_rows_read.json"  # beside the rows


@dataclass(frozen=True)
class RowsRead:
    """Rows of a task's training files, and how many of them sequence_len left out."""

    rows: int
    unfit: int

    def __add__(self, other: RowsRead) -> RowsRead:
        return RowsRead(self.rows + other.rows, self.unfit + other.unfit)


def save_rows(rows: DatasetDict, read: Mapping[str, RowsRead], folder: Path) -> None:
    """Write beside, then rename: a killed run leaves no half-written folder under this name."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    rows.save_to_disk(str(beside))
    counts = {name: asdict(one) for name, one in read.items()}
    (beside / _READ).write_text(json.dumps(counts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def is_saved(folder: Path) -> bool:
    """Whether a whole folder is there."""
    return (folder / "dataset_dict.json").is_file()


def load_rows(folder: Path) -> tuple[DatasetDict, dict[str, RowsRead]]:
    """The rows, and of each task what its training files held."""
    read = json.loads((folder / _READ).read_text(encoding="utf-8"))
    rows = load_from_disk(str(folder))
    return rows, {name: RowsRead(**counts) for name, counts in read.items()}
