"""Choose validation rows that never reach training, not even as duplicates. Pure index work.

N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapt_axolotl.data.random_streams import RandomStream

# Held out of a task, which keeps at least as many.
LEAST_ROWS = 2


@dataclass(frozen=True)
class CarveRequest:
    """How many rows of a task to hold out: a number, a share, or (neither) the default."""

    examples: int | None = None
    fraction: float | None = None

    def rows(self, distinct: int) -> int:
        """Held-out rows for a task with so many distinct ones.

        By default a tenth, at least 4 and at most 64: enough to tell tasks apart, and no small
        task loses much of its pool.
        """
        if self.examples is not None:
            return self.examples
        if self.fraction is not None:
            return max(LEAST_ROWS, round(distinct * self.fraction))
        return min(64, max(4, distinct // 10))


def carve_validation(
    task: str, fingerprints: np.ndarray, request: CarveRequest, seed: int
) -> np.ndarray:
    """The rows of a task to hold out, as a boolean mask over its rows.

    Only one row of several equal ones is held out; `without_leaks` then drops the others from
    training.

    Args:
        task: its name, for the message.
        fingerprints: (N,) equal for equal rows.
        request: how many.
        seed: of the choice.

    Raises:
        ValueError: the task is too small to split.
    """
    _, first = np.unique(fingerprints, return_index=True)
    wanted = request.rows(len(first))
    if 2 * wanted > len(first):
        raise ValueError(_too_small(task, len(first), wanted, request))
    # Sorted by place, so that the choice does not depend on the fingerprint function.
    chosen = RandomStream.VALIDATION_SPLIT.generator(seed).choice(
        np.sort(first), size=wanted, replace=False
    )
    mask = np.zeros(len(fingerprints), dtype=bool)
    mask[chosen] = True
    return mask


def _too_small(task: str, distinct: int, wanted: int, request: CarveRequest) -> str:
    rows = f"{distinct} distinct row{'' if distinct == 1 else 's'}"
    other = "merge it with another task by giving both the same task: name"
    if distinct < 2 * LEAST_ROWS:
        return (
            f"task {task!r} has {rows}, too few to hold out {LEAST_ROWS} for validation and train "
            f"on the rest; give it test_datasets of its own, add rows, or {other}"
        )
    place = " in place of the share" if request.fraction is not None else ""
    return (
        f"task {task!r} has {rows}, too few to hold out {wanted} for validation and train on the "
        f"rest; give it test_datasets of its own, set adapt.val_examples to at most "
        f"{distinct // 2}{place}, add rows, or {other}"
    )


def without_leaks(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Which training rows are safe: (N,) True where no validation row of any task is equal.

    Args:
        train: (N,) fingerprints of the training rows.
        validation: (M,) fingerprints of all tasks' validation rows.
    """
    return ~np.isin(train, validation)
