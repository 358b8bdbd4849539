"""From `datasets:` entries to named tasks with a training and a validation pool.

Every entry goes through Axolotl's own loader and prompt strategy, so every dataset type keeps
working. The result is kept in one prepared folder for all tasks; its name covers the recipe, the
tokenizer and the size and time of every local file, so an edited file is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.utils.data.lock import FileLockLoader
from axolotl.utils.data.shared import (
    datasets_with_name_generator,
    generate_dataset_hash_from_config,
    load_dataset_with_config,
)
from axolotl.utils.data.utils import handle_long_seq_in_dataset
from axolotl.utils.data.wrappers import get_dataset_wrapper
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from axolotl.utils.trainer import process_datasets_for_packing
from datasets import Dataset, DatasetDict, concatenate_datasets, load_from_disk

from adapt_axolotl.config import AdaptConfig
from adapt_axolotl.pools import TaskPools
from adapt_axolotl.recipe import run_seed
from adapt_axolotl.split import CarveRequest, carve_validation, without_leaks

LOG = get_logger("axolotl.adapt.tasks")

_LAYOUT = 2  # raise when the prepared folder's content changes its meaning
_READ = "adapt_rows_read.json"  # beside the rows in the prepared folder
_POOL_FROM_ROWS = 20_000  # fewer rows tokenise faster in this process than a pool starts
# Keys of a recipe that decide about rows and that Axolotl's own hash leaves out.
_KEYS_OF_ROWS = (
    "excess_length_strategy",
    "min_sample_len",
    "eval_sequence_len",
    "eval_sample_packing",
    "dataset_exact_deduplication",
)
_MODEL_COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids", "token_type_ids")


@dataclass(frozen=True)
class RowsRead:
    """Rows of a task's training files, and how many of them sequence_len left out."""

    rows: int
    unfit: int

    def __add__(self, other: RowsRead) -> RowsRead:
        return RowsRead(self.rows + other.rows, self.unfit + other.unfit)


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
    folder = _prepared_folder(cfg, adapt, tokenizer)

    def load_once() -> DatasetDict:
        if fresh or not (folder / "dataset_dict.json").is_file():
            _save(*_build(cfg, adapt, tokenizer, names), folder)
        return load_from_disk(str(folder))

    lock = FileLockLoader(cfg)
    try:
        prepared = lock.load(load_once)
    finally:
        lock.cleanup()
    pools = {split: _index(prepared[split], names) for split in prepared}
    plain = {
        split: data.remove_columns([c for c in data.column_names if c.startswith("adapt_")])
        for split, data in prepared.items()
    }
    read = json.loads((folder / _READ).read_text(encoding="utf-8"))
    return Tasks(
        plain["train"],
        pools["train"],
        plain["validation"],
        pools["validation"],
        {name: RowsRead(**counts) for name, counts in read.items()},
    )


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
        fingerprints = _fingerprints(train[name])
        held_out = carve_validation(name, fingerprints, request, seed)
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
            rows, counts = _read_entry(cfg, expanded, tokenizer, split, where)
            parts.setdefault(task, []).append(rows)
            read[task] = read.get(task, RowsRead(0, 0)) + counts
    joined = {task: _join(rows) for task, rows in parts.items()}
    if cfg.dataset_exact_deduplication:
        joined = {task: _each_once(rows) for task, rows in joined.items()}
    return joined, read


def _each_once(rows: Dataset) -> Dataset:
    """The first of all rows with equal tokens."""
    _, first = np.unique(_fingerprints(rows), return_index=True)
    return rows.select(np.sort(first))


def _read_entry(
    cfg: DictDefault, entry: DictDefault, tokenizer: Any, split: str, where: str
) -> tuple[Dataset, RowsRead]:
    raw = load_dataset_with_config(entry, cfg.hf_use_auth_token)
    if isinstance(raw, dict):
        wanted = entry.split or split
        if wanted not in raw:
            raise ValueError(
                f"{where}: it has no split {wanted!r}, only {', '.join(raw)}; name one with split:"
            )
        raw = raw[wanted]
    if entry.shards:
        raw = raw.shuffle(seed=cfg.seed).shard(num_shards=entry.shards, index=entry.shards_idx or 0)
    if len(raw) == 0:
        raise ValueError(f"{where}: it has no rows; remove the entry or fill the file")
    one = DictDefault({**cfg})
    one.datasets = [entry]
    if len(raw) < _POOL_FROM_ROWS:
        one.dataset_num_proc = 0  # `datasets` starts a process even for 1
    base, _, style = entry.type.partition(":") if isinstance(entry.type, str) else (None, "", None)
    try:
        rows, _ = get_dataset_wrapper(
            dataset_config=entry,
            tokenizer=tokenizer,
            cfg=one,
            dataset_base_type=base,
            dataset=raw,
            dataset_prompt_style=style or None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: Axolotl cannot read its rows as type: {entry.type} ({error!r}); their "
            f"columns are {', '.join(raw.column_names)}: correct type:, or the field_ keys"
        ) from error
    key = "eval_sequence_len" if split == "test" and cfg.eval_sequence_len else "sequence_len"
    limit = cfg[key]
    fitting = handle_long_seq_in_dataset(rows, limit, one)
    if len(fitting) == 0:
        raise ValueError(
            f"{where}: none of its {len(rows)} rows fits {key}: {limit}; raise it, or set "
            "excess_length_strategy: truncate"
        )
    supervised = _with_supervision(fitting, where)
    if cfg.sample_packing:
        packed = one.sample_packing if split == "train" else cfg.eval_sample_packing
        if packed:
            supervised, _ = process_datasets_for_packing(one, supervised, None)
    return supervised, RowsRead(len(rows), len(rows) - len(fitting))


def _with_supervision(rows: Dataset, where: str) -> Dataset:
    """Only the rows that have a token to learn from."""
    supervised = _supervised_tokens(rows)
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


def _drop_leaks(train: dict[str, Dataset], test: dict[str, Dataset]) -> None:
    """Remove from every training pool the rows that equal a validation row of any task."""
    held_out = np.concatenate([_fingerprints(rows) for rows in test.values()])
    for name, rows in train.items():
        safe = without_leaks(_fingerprints(rows), held_out)
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
        "adapt_supervised": _supervised_tokens(joined).astype(np.int32),
        "adapt_length": _lengths(joined).astype(np.int32),
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


def _list_column(rows: Dataset, column: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(row ends, flat values) of a list column, chunk by chunk."""
    for table in rows.with_format("arrow").iter(batch_size=10_000):
        values = table[column].combine_chunks()
        flat = values.flatten().to_numpy(zero_copy_only=False)
        yield np.cumsum(values.value_lengths().to_numpy(zero_copy_only=False)), flat


def _supervised_tokens(rows: Dataset) -> np.ndarray:
    """(N,) labels other than -100 in each row."""
    counts = []
    for ends, labels in _list_column(rows, "labels"):
        total = np.concatenate([[0], np.cumsum(labels != -100)])
        counts.append(np.diff(total[np.concatenate([[0], ends])]))
    return np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)


def _lengths(rows: Dataset) -> np.ndarray:
    """(N,) tokens in each row."""
    ends = [np.diff(ends, prepend=0) for ends, _ in _list_column(rows, "input_ids")]
    return np.concatenate(ends) if ends else np.zeros(0, dtype=np.int64)


def _fingerprints(rows: Dataset) -> np.ndarray:
    """(N,) uint64, equal for rows with equal tokens."""
    digests = [
        hashlib.blake2b(row.tobytes(), digest_size=8).digest()
        for ends, tokens in _list_column(rows, "input_ids")
        for row in np.split(tokens.astype(np.int32), ends[:-1])
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _prepared_folder(cfg: DictDefault, adapt: AdaptConfig, tokenizer: Any) -> Path:
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


def _save(prepared: DatasetDict, read: dict[str, RowsRead], folder: Path) -> None:
    """Write beside, then rename: a killed run leaves no half-written folder under this name."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    prepared.save_to_disk(str(beside))
    counts = {name: asdict(rows) for name, rows in read.items()}
    (beside / _READ).write_text(json.dumps(counts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
