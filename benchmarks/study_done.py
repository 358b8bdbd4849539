"""What the finished cells of a study say, read from their folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from study_grid import REGIMES, Cell

CELL = "cell.json"


def finished(out: Path) -> dict[Cell, dict[str, Any]]:
    """Cell -> its `cell.json`, of all that are done.

    Args:
        out: folder of the study.
    """
    found = {}
    for regime in REGIMES:
        for file in sorted((out / regime).glob(f"*/*/*/*/{CELL}")):
            content = json.loads(file.read_text(encoding="utf-8"))
            found[Cell(**content["cell"])] = content
    return found


def validation_losses(out: Path) -> dict[Cell, float]:
    """Cell -> the mean over tasks of its last validation losses; infinite where it diverged."""
    last = {cell: one["curve"]["losses"][-1] for cell, one in finished(out).items()}
    means = {cell: sum(losses) / len(losses) for cell, losses in last.items()}
    return {cell: mean if math.isfinite(mean) else math.inf for cell, mean in means.items()}


def seconds_taken(out: Path) -> dict[Cell, float]:
    """Cell -> seconds of its process."""
    return {cell: one["wall_seconds"] for cell, one in finished(out).items()}
