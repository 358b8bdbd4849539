"""The random streams of a run, one number each, so that no two draws are ever the same."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class RandomStream(IntEnum):
    """What is drawn at random. The numbers are part of every seeded run: never change one."""

    FIRST_DRAWS = 0
    ROW_ORDER = 1
    VALIDATION_SPLIT = 2
    VALIDATION_CAP = 3
    META_VALIDATION_ROWS = 4
    META_TRAINING_ROWS = 5
    MEASURED_ROWS = 6
    HELD_OUT_ROWS = 7
    ROW_CHANCES = 8
    REPLAY = 9
    EFFECT_ROWS = 10

    def generator(self, seed: int, *keys: int) -> np.random.Generator:
        """A generator of this stream: the same for the same seed and keys."""
        return np.random.default_rng([seed, int(self), *keys])
