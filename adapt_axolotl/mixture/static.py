"""Mixtures that do not move: the baselines that a learned mixture has to beat. K tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class StaticMixture:
    """A mixture that does not move.

    Attributes:
        tasks: the K names.
        proportions: (K,) on the simplex.
    """

    tasks: tuple[str, ...]
    proportions: np.ndarray


def static_proportions(
    scheme: str,
    available: Sequence[int],
    *,
    temperature: float = 1.0,
    weights: Mapping[str, float] | None = None,
    tasks: Sequence[str] = (),
) -> np.ndarray:
    """Shares of the tasks, (K,).

    Args:
        scheme: `uniform` and `round_robin`: 1/K each; `proportional`: to `available`;
            `temperature`: to available ** (1 / temperature); `weights`: as given.
        available: how much each task has, in the unit of the mixture (tokens or examples); one
            without anything has no share.
        temperature: 1 is proportional, large is uniform.
        weights: for `weights`, a share for every task that has something, in any scale.
        tasks: the K names.

    Raises:
        ValueError: weights that do not match the tasks or cannot be shares.
    """
    sizes = np.asarray(available, dtype=np.float64)
    if scheme in ("uniform", "round_robin"):
        return (sizes > 0) / np.count_nonzero(sizes)
    if scheme == "proportional":
        return sizes / sizes.sum()
    if scheme == "temperature":
        # Over the largest first: a high power of a token count would overflow.
        heated = (sizes / sizes.max()) ** (1 / temperature)
        return heated / heated.sum()
    assert scheme == "weights", f"unknown scheme {scheme!r}"
    assert weights is not None
    trained = [task for task, size in zip(tasks, sizes, strict=True) if size > 0]
    shares = np.zeros(len(sizes))
    shares[sizes > 0] = from_weights(weights, trained, key="adapt.weights")
    return shares


def from_weights(weights: Mapping[str, float], tasks: Sequence[str], *, key: str) -> np.ndarray:
    """Weights in any scale as shares, (K,).

    Args:
        weights: of every task.
        tasks: the K names.
        key: of the recipe, for messages.

    Raises:
        ValueError: they do not match the tasks, or cannot be shares.
    """
    missing = [task for task in tasks if task not in weights]
    unknown = [task for task in weights if task not in tasks]
    if missing or unknown:
        raise ValueError(
            f"{key}: must name every task and no other; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    values = np.array([weights[task] for task in tasks], dtype=np.float64)
    bad = [
        task for task, value in zip(tasks, values, strict=True) if not (0 <= value < float("inf"))
    ]
    if bad:
        raise ValueError(f"{key}: {', '.join(bad)}: a weight must be a number of 0 or more")
    if values.sum() == 0:
        raise ValueError(f"{key}: all weights are 0; give at least one task a share")
    return values / values.sum()
