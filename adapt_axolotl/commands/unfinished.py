"""A run that was stopped, or still runs: how far its records reach, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.run.checkpoint import last_checkpoint
from adapt_common.run_records import LEDGER, RECORDS, read_history


def unfinished(folder: Path) -> str | None:
    """What to say of a run that has begun and not ended; None of any other folder.

    Args:
        folder: its output directory.
    """
    records = folder / RECORDS
    if (records / LEDGER).is_file() or not (records / "config.yml").is_file():
        return None
    budget = _budget(records / "config.yml")
    reached = "its records tell of no step yet"
    if history := read_history(folder):
        line = history[-1]
        reached = (
            f"its last record is of step {line['step']:,}, at {line['tokens']:,}{budget} "
            "supervised tokens"
        )
    checkpoint = last_checkpoint(folder)
    recipe = records / "recipe.yml"
    if checkpoint is None:
        resume = (
            f"it left no checkpoint to go on from, so train {recipe} again, with save_steps for "
            "checkpoints"
        )
    else:
        resume = f"go on with: axolotl train {recipe} --resume-from-checkpoint {checkpoint}"
    return f"{folder}: the run has not ended; {reached}; if it no longer runs, {resume}"


def _budget(config: Path) -> str:
    """What a run may use; empty where an earlier version did not write it."""
    try:
        written: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(
            f"{config}: is damaged ({error}); restore it, or train the recipe again"
        ) from error
    return f" of {written['budget']:,}" if "budget" in written else ""
