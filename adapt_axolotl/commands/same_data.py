"""The data that a finished run trained on, read again."""

from __future__ import annotations

from pathlib import Path

from adapt_axolotl.integration.recipe_config import PlannedRun, planned_run
from adapt_axolotl.records.read import read_finished_run
from adapt_common.run_records import RECORDS


def planned_again(run: Path) -> PlannedRun:
    """
    Args:
        run: output directory of a finished run, from the folder that it was started from.

    Raises:
        ValueError: the run has not ended; its data is not there or is another.
    """
    config = read_finished_run(run).config
    planned = planned_run(run / RECORDS / "recipe.yml", 1)
    if planned.tasks.digest != config["data_digest"]:
        raise ValueError(
            f"{run}: the data that its recipe reads is not what the run trained on, so what it "
            "measured would stand beside other rows; restore the files as they were, and run this "
            "from the folder in which the run started"
        )
    return planned
