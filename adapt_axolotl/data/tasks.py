"""From tokenised rows to named tasks with a training and a validation pool.

The rows of a task's entries are joined, its validation rows are read or carved, and rows that are
in both are left to validation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from adapt_axolotl.data.cache import Prepared, RowsRead, is_saved, load_rows, save_rows
from adapt_axolotl.data.columns import fingerprints, lengths, supervised_tokens
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.data.split import CarveRequest, carve_validation, without_leaks

LOG = logging.getLogger("axolotl.adapt.tasks")

# Of a task's training rows: fewer copies hardly matter.
MANY_COPIES = 0.05

Split = Literal["train", "validation"]

_MODEL_COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids", "token_type_ids")


@dataclass(frozen=True)
class Tasks:
    """All tasks of a run.

    Attributes:
        train: tokenised training rows of all tasks; row numbers are those of `pools`.
        pools: the training rows as index arrays.
        validation: tokenised validation rows of all tasks.
        validation_pools: the validation rows as index arrays.
        read: of each task, what its training files held; nothing where it has none.
        digest: of the tokens and labels of all rows.
    """

    train: Dataset
    pools: TaskPools
    validation: Dataset
    validation_pools: TaskPools
    read: dict[str, RowsRead]
    digest: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return self.pools.tasks

    def validation_by_task(self) -> dict[str, Dataset]:
        """A validation set for each task, under its name."""
        pools = self.validation_pools
        return {name: self.validation.select(pools.rows(k)) for k, name in enumerate(self.names)}


class RowSource(Protocol):
    """Where tokenised rows come from."""

    folder: Path
    """The prepared folder: another one whenever a file or a setting that decides about rows
    changes."""

    def read(self, split: Split) -> Iterator[tuple[str, Dataset, RowsRead]]:
        """(task, its rows, how many there were) of each dataset entry of a split."""

    def locked(self, load: Callable[[], Prepared]) -> Prepared:
        """Calls a function while no other process of this machine does."""


@dataclass(frozen=True)
class SplitRequest:
    """How rows become training and validation rows.

    Attributes:
        carve: how many validation rows a task without any of its own gives.
        cap: most validation rows of a task that has its own; None is no cap.
        deduplicate: keep the first of rows with equal tokens.
        seed: of the choices.
    """

    carve: CarveRequest
    cap: int | None
    deduplicate: bool
    seed: int


def load_tasks(
    source: RowSource, names: Sequence[str], request: SplitRequest, *, fresh: bool
) -> Tasks:
    """Tokenise, split and index all tasks, or read them from the prepared folder.

    Args:
        source: of the rows.
        names: the K tasks in order; those that have validation rows only come last.
        request: how to split.
        fresh: ignore what is prepared (`axolotl preprocess`).

    Raises:
        ValueError: a task is empty, too small to split, or has no validation.
    """

    def load_once() -> Prepared:
        if fresh or not is_saved(source.folder):
            save_rows(*_build(source, names, request), source.folder)
        return load_rows(source.folder)

    prepared = source.locked(load_once)
    pools = {split: _index(rows, tuple(names)) for split, rows in prepared.rows.items()}
    plain = {
        split: data.remove_columns([c for c in data.column_names if c.startswith("adapt_")])
        for split, data in prepared.rows.items()
    }
    return Tasks(
        plain["train"],
        pools["train"],
        plain["validation"],
        pools["validation"],
        prepared.read,
        prepared.digest,
    )


def _build(
    source: RowSource, names: Sequence[str], request: SplitRequest
) -> tuple[DatasetDict, dict[str, RowsRead]]:
    train, read = _read_tasks(source, "train", request)
    validation, _ = _read_tasks(source, "validation", request)
    for name in names:
        if name in validation:
            validation[name] = _capped(validation[name], request)
            read.setdefault(name, RowsRead(0, 0))
            continue
        held_out = carve_validation(name, fingerprints(train[name]), request.carve, request.seed)
        validation[name] = train[name].select(np.flatnonzero(held_out))
        train[name] = train[name].select(np.flatnonzero(~held_out))
    _drop_leaks(train, validation)
    if not request.deduplicate:
        _tell_copies(train)
    prepared = DatasetDict(
        {
            split: _concatenate(rows, names)
            for split, rows in (("train", train), ("validation", validation))
        }
    )
    return prepared, read


def _read_tasks(
    source: RowSource, split: Split, request: SplitRequest
) -> tuple[dict[str, Dataset], dict[str, RowsRead]]:
    """Tokenised rows of each task; entries that share a name are joined."""
    parts: dict[str, list[Dataset]] = {}
    read: dict[str, RowsRead] = {}
    for task, rows, counts in source.read(split):
        parts.setdefault(task, []).append(rows)
        read[task] = read.get(task, RowsRead(0, 0)) + counts
    joined = {task: _join(rows) for task, rows in parts.items()}
    if request.deduplicate:
        joined = {task: _each_once(rows) for task, rows in joined.items()}
    return joined, read


def _capped(rows: Dataset, request: SplitRequest) -> Dataset:
    """At most `cap` validation rows."""
    if request.cap is None or len(rows) <= request.cap:
        return rows
    order = RandomStream.VALIDATION_CAP.generator(request.seed).permutation(len(rows))
    return rows.select(np.sort(order[: request.cap]))


def _each_once(rows: Dataset) -> Dataset:
    """The first of all rows with equal tokens."""
    _, first = np.unique(fingerprints(rows), return_index=True)
    return rows.select(np.sort(first))


def _drop_leaks(train: dict[str, Dataset], validation: dict[str, Dataset]) -> None:
    """Remove from every training pool the rows that equal a validation row of any task."""
    held_out = np.concatenate([fingerprints(rows) for rows in validation.values()])
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
                f"task {name!r}: every training row is also a validation row of some task or "
                "target; give these test_datasets with other rows, or remove the entry of "
                "test_datasets that holds them"
            )
        train[name] = rows.select(np.flatnonzero(safe))


def _tell_copies(train: dict[str, Dataset]) -> None:
    """Copies are drawn, and learned from, as if they were new rows."""
    for name, rows in train.items():
        copies = len(rows) - len(np.unique(fingerprints(rows)))
        if copies > MANY_COPIES * len(rows):
            LOG.warning(
                f"task {name!r}: {copies:,} of {len(rows):,} training rows are copies of others "
                "and count as rows of their own; dataset_exact_deduplication: true keeps each once"
            )


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
    joined = _join([rows[name] for name in names if name in rows])
    counts = [len(rows.get(name, ())) for name in names]
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
