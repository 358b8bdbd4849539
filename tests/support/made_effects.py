"""Effects that were never measured, in the records of a made run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adapt_axolotl.mixture.effects import Effects
from adapt_axolotl.records.effects import MeasuredEffects, write_effects
from adapt_common.run_records import read_ledger

GROUPS = 8
# Of the tasks a, b, c on the targets b, c.
VALUES = np.array([[0.30, 0.10], [0.02, 0.10], [-0.26, 0.10]])


def made_effects(run: Path) -> None:
    """Task a helps b more than the mixture, c harms it; nothing is told of target c but that all
    help it alike. Standard errors are .02."""
    rng = np.random.default_rng(0)

    def scattered(size: float) -> np.ndarray:
        found = rng.standard_normal((GROUPS, *VALUES.shape))
        found -= found.mean(axis=0)
        return size * found / np.sqrt(GROUPS / (GROUPS - 1) * (found**2).sum(axis=0))

    size = 0.02 / np.sqrt(2)
    write_effects(
        run,
        MeasuredEffects(
            tasks=["a", "b", "c"],
            targets=["b", "c"],
            effects=Effects(VALUES, scattered(size), scattered(size)),
            chances=[0.004, 0.31],
            shares=np.array([0.5, 0.2, 0.3]),
            left_out=["tiny"],
            rows=64,
            checkpoints=[(10, 1000, 0.3), (20, 2000, 0.4), (30, 3000, 0.3)],
        ),
        read_ledger(run),
    )
