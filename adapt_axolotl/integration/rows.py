"""Tokenised rows of a recipe's datasets, read by Axolotl's own loaders and prompt strategies."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from datasets.exceptions import DatasetsError

from adapt_axolotl.data.cache import Prepared, RowsRead
from adapt_axolotl.data.columns import supervised_tokens
from adapt_axolotl.data.split import CarveRequest
from adapt_axolotl.data.tasks import Split, SplitRequest, Tasks, load_tasks
from adapt_axolotl.data.unreadable import local_files, why_unreadable
from adapt_axolotl.integration.compat import (
    DictDefault,
    FileLockLoader,
    datasets_with_name_generator,
    generate_dataset_hash_from_config,
    get_dataset_type,
    handle_long_seq_in_dataset,
    load_dataset_with_config,
    process_datasets_for_packing,
)
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.integration.tokenised import tokenised

LOG = logging.getLogger("axolotl.adapt.rows")

_POOL_FROM_ROWS = 20_000  # fewer rows tokenise faster in this process than a pool starts
_LAYOUT = 3  # raise when the prepared folder's content changes its meaning
# Keys of a recipe that decide about rows and that Axolotl's own hash leaves out.
_KEYS_OF_ROWS = (
    "excess_length_strategy",
    "min_sample_len",
    "eval_sequence_len",
    "eval_sample_packing",
    "dataset_exact_deduplication",
)


def load_recipe_tasks(cfg: Any, spec: TrainingSpec, tokenizer: Any, *, fresh: bool) -> Tasks:
    """The tasks of a recipe.

    Args:
        cfg: Axolotl's validated config.
        spec: what was read from it.
        tokenizer: Axolotl's.
        fresh: ignore what is prepared (`axolotl preprocess`).

    Raises:
        ValueError: the data has a mistake, with its place and the remedy.
    """
    adapt = spec.adapt
    request = SplitRequest(
        CarveRequest(adapt.val_examples, adapt.val_fraction),
        cap=adapt.val_examples,
        deduplicate=spec.deduplicate,
        seed=spec.seed,
    )
    source = RecipeRows(cfg, spec, tokenizer)
    return load_tasks(source, adapt.task_names, request, fresh=fresh)


class RecipeRows:
    """The `RowSource` of a recipe; for the arguments see `load_recipe_tasks`."""

    def __init__(self, cfg: Any, spec: TrainingSpec, tokenizer: Any) -> None:
        self._cfg = cfg
        self._spec = spec
        self._tokenizer = tokenizer
        self.folder = _prepared_folder(cfg, spec, tokenizer)

    def locked(self, load: Callable[[], Prepared]) -> Prepared:
        """As `RowSource.locked`."""
        lock = FileLockLoader(self._cfg)
        try:
            loaded: Prepared = lock.load(load)
        finally:
            lock.cleanup()
        return loaded

    def read(self, split: Split) -> Iterator[tuple[str, Dataset, RowsRead]]:
        """As `RowSource.read`."""
        key = "datasets" if split == "train" else "test_datasets"
        adapt = self._spec.adapt
        names = adapt.train_tasks if split == "train" else adapt.test_tasks
        for index, (entry, task) in enumerate(zip(self._cfg[key] or [], names, strict=True)):
            for expanded in datasets_with_name_generator([entry]):
                where = f"{key}[{index}] ({expanded.path}) of task {task!r}"
                rows, counts = self._read_entry(expanded, split, where)
                yield task, rows, counts

    def _read_entry(self, entry: Any, split: Split, where: str) -> tuple[Dataset, RowsRead]:
        """Rows of an entry that fit and have a token to learn from, and how many there were.

        Args:
            entry: of `datasets` or `test_datasets`, with one name.
            split: which lengths and packing hold, and which split of a dataset that has several is
                read where the entry names none.
            where: the entry's place in the recipe, for messages.

        Raises:
            ValueError: no such split, no rows, none of this type, none that fits or none to learn
                from.
        """
        cfg, spec = self._cfg, self._spec
        raw = _raw_rows(cfg, entry, "train" if split == "train" else "test", where)
        one = DictDefault({**cfg})
        one.datasets = [entry]
        if len(raw) < _POOL_FROM_ROWS:
            one.dataset_num_proc = 0  # `datasets` starts a process even for 1
        rows = tokenised(one, entry, raw, self._tokenizer, where)
        training = split == "train"
        key = "sequence_len" if training or not cfg.eval_sequence_len else "eval_sequence_len"
        limit = spec.sequence_len if training else spec.eval_sequence_len
        fitting = handle_long_seq_in_dataset(rows, limit, one)
        if len(fitting) == 0:
            raise ValueError(
                f"{where}: none of its {len(rows)} rows fits {key}: {limit}; raise it, or set "
                "excess_length_strategy: truncate"
            )
        supervised = _with_supervision(fitting, where)
        if spec.sample_packing and (training or spec.eval_sample_packing):
            supervised, _ = process_datasets_for_packing(one, supervised, None)
        return supervised, RowsRead(len(rows), len(rows) - len(fitting))


def _raw_rows(cfg: Any, entry: Any, default_split: str, where: str) -> Dataset:
    """The rows of an entry before they are tokenised."""
    try:
        raw = load_dataset_with_config(entry, cfg.hf_use_auth_token)
    except (FileNotFoundError, TypeError, ValueError, DatasetsError) as error:
        why = why_unreadable(
            error, local_files(str(entry.path), entry.data_files, get_dataset_type(entry))
        )
        raise ValueError(
            f"{where}: cannot be read: {why}; correct it there, or remove the entry"
        ) from error
    if isinstance(raw, dict):
        wanted = entry.split or default_split
        if wanted not in raw:
            raise ValueError(
                f"{where}: it has no split {wanted!r}, only {', '.join(raw)}; name one with split:"
            )
        raw = raw[wanted]
    if entry.shards:
        raw = raw.shuffle(seed=cfg.seed).shard(num_shards=entry.shards, index=entry.shards_idx or 0)
    if len(raw) == 0:
        raise ValueError(f"{where}: it has no rows; remove the entry or fill the file")
    return raw


def _with_supervision(rows: Dataset, where: str) -> Dataset:
    """Only the rows that have a token to learn from."""
    supervised = supervised_tokens(rows)
    empty = np.flatnonzero(supervised == 0)
    if len(empty) == 0:
        return rows
    remedy = "check the roles to train, the chat template, and that answers are not empty"
    if len(empty) == len(rows):
        raise ValueError(f"{where}: no row has a supervised token; {remedy}")
    LOG.warning(
        f"{where}: left out {len(empty)} of {len(rows)} rows that have no supervised token "
        f"(the first is number {empty[0]} of those that fit); {remedy}"
    )
    return rows.select(np.flatnonzero(supervised > 0))


def _prepared_folder(cfg: Any, spec: TrainingSpec, tokenizer: Any) -> Path:
    """Where the rows are kept, whether they are there or not. The name covers the recipe, the
    tokenizer and the size and time of every local file, so an edited file is read again."""
    entries = [*cfg.datasets, *(cfg.test_datasets or [])]
    adapt = spec.adapt
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
    return spec.prepared / f"adapt-{digest[:24]}"


def _file_stamps(path: str) -> list[tuple[str, int, int]]:
    """Name, size and time of a local file, or of the files in a local folder."""
    place = Path(path)
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
