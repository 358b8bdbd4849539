"""Which types, and which instances on which side: functions of the content alone, so the same clone
gives the same files anywhere, in any order of reading."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from adapt_axolotl.commands.prepare.source import Instance, TaskFile


@dataclass(frozen=True)
class Limits:
    """How much is taken of a type.

    Attributes:
        training_rows: at most.
        validation_rows: at most.
        validation_share: of its inputs, held out before anything is taken.
    """

    training_rows: int
    validation_rows: int
    validation_share: float = 0.05


def without_benchmarks(
    files: Iterable[TaskFile], overlaps: Callable[[str], bool]
) -> tuple[list[TaskFile], list[TaskFile]]:
    """(files to use, files made from the source of a benchmark, as their names tell)."""
    kept: list[TaskFile] = []
    excluded: list[TaskFile] = []
    for file in files:
        (excluded if overlaps(file.name) else kept).append(file)
    return kept, excluded


def choose_types(files: Iterable[TaskFile], wanted: Sequence[str]) -> dict[str, list[TaskFile]]:
    """Type -> its files: those `wanted`, else all, the largest by instances first.

    Raises:
        ValueError: a wanted type is not there.
    """
    groups: dict[str, list[TaskFile]] = {}
    for file in files:
        groups.setdefault(file.type, []).append(file)
    sizes = {name: sum(file.instances for file in group) for name, group in groups.items()}
    by_size = sorted(groups, key=lambda name: (-sizes[name], name))
    if unknown := [name for name in wanted if name not in groups]:
        there = ", ".join(f"{name} ({sizes[name]:,})" for name in by_size)
        raise ValueError(f"{', '.join(unknown)}: no such English type; there are {there}")
    return {name: groups[name] for name in (wanted or by_size)}


def place(text: str) -> float:
    """0 to 1, by the input alone: an input that stands in several task files, or types, is on the
    same side in all of them, and so cannot leak from training to validation."""
    words = " ".join(text.split()).lower()
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") / 2**64


def split(instances: Iterable[Instance], limits: Limits) -> tuple[list[Instance], list[Instance]]:
    """(training, validation): the first by place of either side, each in that order, so that a cap
    takes from all task files alike. Equal rows are taken once."""
    training: dict[Instance, float] = {}
    validation: dict[Instance, float] = {}
    for instance in instances:
        where = place(instance.input)
        side, most = training, limits.training_rows
        if where < limits.validation_share:
            side, most = validation, limits.validation_rows
        side[instance] = where
        if len(side) >= 2 * most:  # what is beyond the cap is let go as we read
            _keep_first(side, most)
    _keep_first(training, limits.training_rows)
    _keep_first(validation, limits.validation_rows)
    return list(training), list(validation)


def _keep_first(side: dict[Instance, float], most: int) -> None:
    first = heapq.nsmallest(
        most, side.items(), key=lambda pair: (pair[1], pair[0].instruction, pair[0].output)
    )
    side.clear()
    side.update(first)
