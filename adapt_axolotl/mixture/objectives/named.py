"""All objectives by the names that they have in a recipe. K tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives.alpha_fair import AlphaFair
from adapt_axolotl.mixture.objectives.cvar import Cvar
from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.objectives.smooth_worst_case import BETA, SmoothWorstCase
from adapt_axolotl.mixture.objectives.worst_group import WorstGroup

_ALL: tuple[Objective, ...] = (
    SmoothWorstCase(name="worst_case", beta=BETA, cap=2.0, relative=True, spread=True),
    SmoothWorstCase(name="relative", beta=4.0, cap=2.0, smoothing=0.8, relative=True),
    SmoothWorstCase(name="paper", beta=4.0),
    SmoothWorstCase(name="raw", beta=4.0, cap=2.0),
    SmoothWorstCase(name="mean", beta=0.0),
    SmoothWorstCase(name="excess", beta=4.0, cap=2.0, smoothing=0.8),
    Cvar(name="cvar"),
    AlphaFair(name="alpha_fair"),
    WorstGroup(name="worst_group", groups=np.zeros(0, dtype=np.int64)),  # no use without groups
)
_NAMED = {one.name: one for one in _ALL}
OBJECTIVES: tuple[str, ...] = tuple(_NAMED)

# Keys of a recipe that only some objectives read, and which ones.
READ_BY: dict[str, tuple[str, ...]] = {
    "beta": ("worst_case", "relative", "paper", "raw", "excess", "worst_group"),
    "reference_losses": ("excess",),
    "level": ("cvar",),
    "alpha": ("alpha_fair",),
    "groups": ("worst_group",),
}


def objective(
    name: str,
    *,
    beta: float | None = None,
    reference_losses: Sequence[float] | None = None,
    level: float | None = None,
    alpha: float | None = None,
    groups: Sequence[int] | None = None,
    targets: Sequence[bool] | None = None,
    weights: Sequence[float] | None = None,
) -> Objective:
    """A named objective. Of the settings it takes those that it reads; None is its own default.

    Args:
        name: one of `OBJECTIVES`.
        beta: sharpness of a worst case.
        reference_losses: (K,) irreducible losses, for `excess`.
        level: share of the tasks that count, for `cvar`.
        alpha: for `alpha_fair`.
        groups: (K,) the number of each task's group, for `worst_group`.
        targets: (K,) which tasks alone count; None for all.
        weights: (K,) how much each counts; None for all alike.

    Raises:
        ValueError: unknown name, a setting out of range, or one that the objective needs is not
            there.
    """
    if name not in _NAMED:
        raise ValueError(f"{name!r} is no objective; choose from {', '.join(OBJECTIVES)}")
    if beta is not None and not 0 <= beta < math.inf:
        raise ValueError(
            f"beta: {beta} is no sharpness; set a number of 0 (the mean) or more, large for the "
            "maximum"
        )
    settings = {
        "beta": beta,
        "reference_losses": _array(reference_losses, np.float64),
        "level": level,
        "alpha": alpha,
        "groups": _array(groups, np.int64),
    }
    read: dict[str, Any] = {
        key: value for key, value in settings.items() if value is not None and name in READ_BY[key]
    }
    for key in ("reference_losses", "groups"):
        if name in READ_BY[key] and key not in read:
            raise ValueError(f"objective {name!r} needs {key}, one for every task")
    return replace(
        _NAMED[name],
        targets=_array(targets, bool),
        weights=_array(weights, np.float64),
        **read,
    )


def _array(values: Sequence | None, kind: type) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=kind)
