"""Items of one benchmark of one run, whatever they were read from.

The key is (subtask, filter, hash of the document, which occurrence of equal documents): never the
number of the document alone, which changes with the data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adapt_eval.schema import BenchmarkResult

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Items:
    """The items of one benchmark of one run; equal positions belong together.

    Attributes:
        keys: n of them.
        scores: (n,).
        targets, prompts, clusters: n strings.
        by_seed: (S, n), the scores of each seed; None for one.
    """

    keys: Sequence[Key]
    scores: NDArray[np.float64]
    targets: Sequence[str]
    prompts: Sequence[str]
    clusters: Sequence[str]
    by_seed: NDArray[np.float64] | None = None


class Scored(Protocol):
    """One benchmark of one run: a result of `adapt-eval run`, or a task of somebody's log."""

    @property
    def content(self) -> BenchmarkResult:
        """Score and settings."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    def items(self) -> Items:
        """Read the items.

        Raises:
            ValueError: they are damaged, or are not those of the score.
        """


def other_mean(scores: NDArray[np.float64], said: float) -> float | None:
    """The mean of the scores where it is not what was said, NaN without any; None where it is."""
    mean = float(scores.mean()) if len(scores) else math.nan
    return None if math.isclose(mean, said, rel_tol=1e-9, abs_tol=1e-12) else mean


def keys_of(documents: Iterable[tuple[str, str, str]]) -> list[Key]:
    """
    Args:
        documents: (subtask, filter, hash of the document), in their order.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    keys: list[Key] = []
    for one in documents:
        keys.append((*one, seen[one]))
        seen[one] += 1
    return keys
