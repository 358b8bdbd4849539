"""Numbers of tasks in a JSON checkpoint: NaN, which JSON does not have, is null there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def as_list(values: np.ndarray) -> list[float | None]:
    """(K,) as JSON has it; floats come back to the bit, infinite ones as NaN."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def as_array(values: Sequence[float | None]) -> np.ndarray:
    """What `as_list` gave, (K,)."""
    return np.array([np.nan if value is None else value for value in values])
