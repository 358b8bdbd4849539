"""Items of two runs put side by side.

Items belong together by their keys (`items.py`), and are comparable if target, prompt and settings
are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt_eval.comparison.items import Items
from adapt_eval.errors import NotComparable


@dataclass(frozen=True)
class Pairs:
    """Items that both arms have.

    Attributes:
        a, b: (n,) scores, averaged over the seeds of each arm.
        clusters: (n,) numbers, or None where items are independent.
        unmatched: items that only one of the two has.
        seeds: (S_a, n) and (S_b, n) scores of each seed, where both arms have several.
        same_seeds: whether row s of one and row s of the other are of the same training seed.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    clusters: NDArray[np.int64] | None
    unmatched: tuple[int, int]
    seeds: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    same_seeds: bool = False


def average(seeds: Sequence[Items], where: str) -> tuple[Items, list[float]]:
    """Average the scores of each item over seeds: item noise is not seed noise.

    Args:
        seeds: the same benchmark, once for each seed.
        where: arm and benchmark, for messages.

    Returns:
        The items that all seeds have, and each seed's mean score over them.
    """
    if len(seeds) == 1:
        return seeds[0], [float(seeds[0].scores.mean())]
    indexes = [{key: number for number, key in enumerate(one.keys)} for one in seeds]
    common = [key for key in seeds[0].keys if all(key in index for index in indexes)]
    if not common:
        raise NotComparable(f"{where}: its seeds have no item in common")
    orders = [np.array([index[key] for key in common]) for index in indexes]
    for one, order in zip(seeds[1:], orders[1:], strict=True):
        _check_same(seeds[0], one, orders[0], order, where)
    scores = np.stack([one.scores[order] for one, order in zip(seeds, orders, strict=True)])
    first = orders[0]
    kept = [[texts[i] for i in first] for texts in (seeds[0].targets, seeds[0].prompts)]
    clusters = [seeds[0].clusters[i] for i in first]
    averaged = Items(common, scores.mean(axis=0), kept[0], kept[1], clusters, scores)
    return averaged, [float(one) for one in scores.mean(axis=1)]


def pair(
    a: Items, b: Items, where: str, strict: bool = True, seeds: Sequence[int] | None = None
) -> Pairs:
    """
    Args:
        strict: refuse items whose prompts differ.
        seeds: for each seed of a, the number of the same training seed in b; None where the arms
            share none.

    Raises:
        NotComparable: no item is in both, or targets or prompts differ.
    """
    index = {key: number for number, key in enumerate(b.keys)}
    matched = [(i, index[key]) for i, key in enumerate(a.keys) if key in index]
    if not matched:
        raise NotComparable(f"{where}: no item is in both runs; were they given the same data?")
    left, right = (np.array(side) for side in zip(*matched, strict=True))
    _check_same(a, b, left, right, where, strict)
    clusters = None
    if any(a.clusters):
        names: dict[str, int] = {}
        numbers = [names.setdefault(a.clusters[i], len(names)) for i in left]
        clusters = np.array(numbers, dtype=np.int64)
    unmatched = (len(a.keys) - len(matched), len(b.keys) - len(matched))
    both = None
    if a.by_seed is not None and b.by_seed is not None:
        theirs = b.by_seed if seeds is None else b.by_seed[list(seeds)]
        both = (a.by_seed[:, left], theirs[:, right])
    same = both is not None and seeds is not None
    return Pairs(a.scores[left], b.scores[right], clusters, unmatched, both, same)


def _check_same(
    a: Items,
    b: Items,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    where: str,
    strict: bool = True,
) -> None:
    for what, ours, theirs, refuse in (
        ("targets", a.targets, b.targets, True),
        ("prompts", a.prompts, b.prompts, strict),
    ):
        differ = sum(ours[i] != theirs[j] for i, j in zip(left, right, strict=True))
        if differ and refuse:
            raise NotComparable(
                f"{where}: the {what} of {differ} of {len(left)} items differ; measure both runs "
                "with the same data, profile, shots and version"
            )
