"""From `datasets:` entries to named tasks with a training and a validation pool.

The rows of a task's entries are joined, its validation rows are read or carved, and rows that are
in both are left to validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from axolotl.utils.data.lock import FileLockLoader
from axolotl.utils.data.shared import datasets_with_name_generator
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from datasets import Dataset, DatasetDict, concatenate_datasets

from adapt_axolotl.config import AdaptConfig
from adapt_axolotl.entries import RowsRead, read_entry
from adapt_axolotl.pools import TaskPools
from adapt_axolotl.prepared import is_saved, load_rows, prepared_folder, save_rows
from adapt_axolotl.recipe import run_seed
from adapt_axolotl.split import CarveRequest, carve_validation, without_leaks
from adapt_axolotl.token_columns import fingerprints, lengths, supervised_tokens

LOG = get_logger("axolotl.adapt.tasks")

_MODEL_COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids", "token_type_ids")


@dataclass(frozen=True)
class Tasks:
    """All tasks of a run.

    Attributes:
        train: tokenised training rows of all tasks; row numbers are those of `pools`.
        pools: the training rows as index arrays.
        validation: tokenised validation rows of all tasks.
        validation_pools: the validation rows as index arrays.
        read: of each task, what its training files held.
    """

    train: Dataset
    pools: TaskPools
    validation: Dataset
    validation_pools: TaskPools
    read: dict[str, RowsRead]

    @property
    def names(self) -> tuple[str, ...]:
        return self.pools.tasks

    def validation_by_task(self) -> dict[str, Dataset]:
        """A validation set for each task, under its name."""
        pools = self.validation_pools
        return {name: self.validation.select(pools.rows(k)) for k, name in enumerate(self.names)}


def load_tasks(cfg: DictDefault, adapt: AdaptConfig, tokenizer: Any, *, fresh: bool) -> Tasks:
    """Tokenise, split and index all tasks, or read them from the prepared folder.

    Args:
        cfg: Axolotl's validated config.
        adapt: the `adapt:` block.
        tokenizer: Axolotl's.
        fresh: ignore what is prepared (`axolotl preprocess`).

    Raises:
        ValueError: a task is empty, too small to split, or has no validation.
    """
    names = tuple(dict.fromkeys(adapt.train_tasks))
    folder = prepared_folder(cfg, adapt, tokenizer)

    def load_once() -> tuple[DatasetDict, dict[str, RowsRead]]:
        if fresh or not is_saved(folder):
            save_rows(*_build(cfg, adapt, tokenizer, names), folder)
        return load_rows(folder)

    lock = FileLockLoader(cfg)
    try:
        prepared, read = lock.load(load_once)
    finally:
        lock.cleanup()
    pools = {split: _index(prepared[split], names) for split in prepared}
    plain = {
        split: data.remove_columns([c for c in data.column_names if c.startswith("adapt_")])
        for split, data in prepared.items()
    }
    return Tasks(plain["train"], pools["train"], plain["validation"], pools["validation"], read)


def _build(
    cfg: DictDefault, adapt: AdaptConfig, tokenizer: Any, names: Sequence[str]
) -> tuple[DatasetDict, dict[str, RowsRead]]:
    train, read = _read_tasks(cfg, cfg.datasets, adapt.train_tasks, tokenizer, "train")
    test, _ = _read_tasks(cfg, cfg.test_datasets or [], adapt.test_tasks, tokenizer, "test")
    seed = run_seed(cfg)
    request = CarveRequest(adapt.val_examples, adapt.val_fraction)
    for name in names:
        if name in test:
            if adapt.val_examples is not None and len(test[name]) > adapt.val_examples:
                order = np.random.default_rng([seed, 3]).permutation(len(test[name]))
                test[name] = test[name].select(np.sort(order[: adapt.val_examples]))
            continue
        held_out = carve_validation(name, fingerprints(train[name]), request, seed)
        test[name] = train[name].select(np.flatnonzero(held_out))
        train[name] = train[name].select(np.flatnonzero(~held_out))
    _drop_leaks(train, test)
    prepared = DatasetDict(
        {
            split: _concatenate(rows, names)
            for split, rows in (("train", train), ("validation", test))
        }
    )
    return prepared, read


def _read_tasks(
    cfg: DictDefault, entries: Sequence[Any], tasks: Sequence[str], tokenizer: Any, split: str
) -> tuple[dict[str, Dataset], dict[str, RowsRead]]:
    """Tokenised rows of each task; entries that share a name are joined."""
    parts: dict[str, list[Dataset]] = {}
    read: dict[str, RowsRead] = {}
    key = "datasets" if split == "train" else "test_datasets"
    for index, (entry, task) in enumerate(zip(entries, tasks, strict=True)):
        for expanded in datasets_with_name_generator([entry]):
            where = f"{key}[{index}] ({expanded.path}) of task {task!r}"
            rows, counts = read_entry(cfg, expanded, tokenizer, split, where)
            parts.setdefault(task, []).append(rows)
            read[task] = read.get(task, RowsRead(0, 0)) + counts
    joined = {task: _join(rows) for task, rows in parts.items()}
    if cfg.dataset_exact_deduplication:
        joined = {task: _each_once(rows) for task, rows in joined.items()}
    return joined, read


def _each_once(rows: Dataset) -> Dataset:
    """The first of all rows with equal tokens."""
    _, first = np.unique(fingerprints(rows), return_index=True)
    return rows.select(np.sort(first))


def _drop_leaks(train: dict[str, Dataset], test: dict[str, Dataset]) -> None:
    """Remove from every training pool the rows that equal a validation row of any task."""
    held_out = np.concatenate([fingerprints(rows) for rows in test.values()])
    for name, rows in train.items():
        safe = without_leaks(fingerprints(rows), held_out)
        if safe.all():
            continue
        LOG.warning(
            f"task {name!r}: left {int((~safe).sum())} of {len(rows)} training rows out because "
            "they equal a validation row"
        )
        if not safe.any():
            raise ValueError(
                f"task {name!r}: every training row is also a validation row; give it "
                "test_datasets with other rows, or remove its test_datasets so that a split is "
                "carved"
            )
        train[name] = rows.select(np.flatnonzero(safe))


def _join(parts: list[Dataset]) -> Dataset:
    """Concatenate rows of several strategies: the columns they share, in the first one's types."""
    shared = [
        column
        for column in (*_MODEL_COLUMNS, "length")
        if all(column in part.column_names for part in parts)
    ]
    trimmed = [part.select_columns(shared) for part in parts]
    features = trimmed[0].features
    return concatenate_datasets(
        [part if part.features == features else part.cast(features) for part in trimmed]
    )


def _concatenate(rows: dict[str, Dataset], names: Sequence[str]) -> Dataset:
    joined = _join([rows[name] for name in names])
    counts = [len(rows[name]) for name in names]
    columns = {
        "adapt_task": np.repeat(np.arange(len(names), dtype=np.int32), counts),
        "adapt_supervised": supervised_tokens(joined).astype(np.int32),
        "adapt_length": lengths(joined).astype(np.int32),
    }
    for column, values in columns.items():
        joined = joined.add_column(column, values)
    return joined


def _index(rows: Dataset, names: tuple[str, ...]) -> TaskPools:
    arrays = rows.with_format("numpy", columns=["adapt_task", "adapt_supervised", "adapt_length"])
    columns = arrays[:]
    return TaskPools(
        names, columns["adapt_task"], columns["adapt_supervised"], columns["adapt_length"]
    )
