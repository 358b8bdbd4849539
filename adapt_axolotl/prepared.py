"""The prepared folder of all tasks: its name covers the recipe, the tokenizer and the size and time
of every local file, so an edited file is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.utils.data.shared import generate_dataset_hash_from_config
from axolotl.utils.dict import DictDefault
from datasets import DatasetDict, load_from_disk

from adapt_axolotl.config import AdaptConfig
from adapt_axolotl.entries import RowsRead

_LAYOUT = 2  # raise when the folder's content changes its meaning
_READ = "adapt_rows_read.json"  # beside the rows
# Keys of a recipe that decide about rows and that Axolotl's own hash leaves out.
_KEYS_OF_ROWS = (
    "excess_length_strategy",
    "min_sample_len",
    "eval_sequence_len",
    "eval_sample_packing",
    "dataset_exact_deduplication",
)


def prepared_folder(cfg: DictDefault, adapt: AdaptConfig, tokenizer: Any) -> Path:
    """Where these tasks' rows are kept, whether they are there or not."""
    entries = [*cfg.datasets, *(cfg.test_datasets or [])]
    key = {
        "layout": _LAYOUT,
        "axolotl": generate_dataset_hash_from_config(cfg, entries, tokenizer.name_or_path),
        "template": tokenizer.chat_template,
        "seed": cfg.seed,
        "tasks": [adapt.train_tasks, adapt.test_tasks],
        "validation": [adapt.val_examples, adapt.val_fraction],
        **{key: cfg[key] for key in _KEYS_OF_ROWS},
        "files": [_file_stamps(str(entry.path)) for entry in entries],
        "tokenizer": _file_stamps(str(tokenizer.name_or_path)),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    root = Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH)
    return root / f"adapt-{digest[:24]}"


def _file_stamps(path: str) -> list[tuple[str, int, int]]:
    """Name, size and time of a local file, or of the files in a local folder."""
    place = Path(path)
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


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
