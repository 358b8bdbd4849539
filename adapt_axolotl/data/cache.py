"""The prepared folder: tokenised rows of all tasks, kept between runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import DatasetDict, load_from_disk

from adapt_axolotl.data.columns import digest

_FACTS = "adapt_facts.json"  # beside the rows


@dataclass(frozen=True)
class RowsRead:
    """Rows of a task's training files, and how many of them sequence_len left out."""

    rows: int
    unfit: int

    def __add__(self, other: RowsRead) -> RowsRead:
        return RowsRead(self.rows + other.rows, self.unfit + other.unfit)


@dataclass(frozen=True)
class Prepared:
    """What a prepared folder holds.

    Attributes:
        rows: of both splits.
        read: of each task, what its training files held.
        digest: of the tokens and labels of both splits.
    """

    rows: DatasetDict
    read: dict[str, RowsRead]
    digest: str


def save_rows(rows: DatasetDict, read: Mapping[str, RowsRead], folder: Path) -> None:
    """Write beside, then rename: a killed run leaves no half-written folder under this name."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    rows.save_to_disk(str(beside))
    facts = {
        "rows_read": {name: asdict(one) for name, one in read.items()},
        "digest": "".join(digest(rows[split]) for split in sorted(rows)),
    }
    (beside / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def is_saved(folder: Path) -> bool:
    """Whether a whole folder is there."""
    return (folder / "dataset_dict.json").is_file()


def load_rows(folder: Path) -> Prepared:
    """What `save_rows` wrote."""
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    read = {name: RowsRead(**counts) for name, counts in facts["rows_read"].items()}
    return Prepared(load_from_disk(str(folder)), read, facts["digest"])
