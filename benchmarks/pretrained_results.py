"""What a model that `axolotl train` left says of the study's test rows, in the files of a cell."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from study_done import CELL
from study_model import RowResults, results_of_rows
from study_results import write_results
from transformers import AutoModelForCausalLM

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.recipe_config import planned_run
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_common.run_records import RECORDS, read_ledger

TOKENS_AT_ONCE = 8192


class AxolotlRows:
    """Test rows as Axolotl tokenises them; what `study_model` and `study_results` ask of rows."""

    def __init__(self, recipe: Path) -> None:
        tasks = planned_run(recipe, processes=1).tasks
        self._rows = tasks.validation
        self.pools: TaskPools = tasks.validation_pools
        self._digest = tasks.digest

    def __getitem__(self, rows: list[int]) -> Any:
        return self._rows[rows]

    def digest(self) -> str:
        """Of all rows."""
        return self._digest

    def measuring(self, device: torch.device) -> MeasuringRows:
        """In micro-batches."""
        return MeasuringRows(
            self._rows,
            self.pools,
            pad_token_id=0,
            micro_batch_tokens=TOKENS_AT_ONCE,
            device=device,
        )


def measured(run: Path, recipe: Path) -> tuple[RowResults, AxolotlRows]:
    """What the model of a run says, and of which rows.

    Args:
        run: its output directory.
        recipe: whose validation rows are the test rows.
    """
    rows = AxolotlRows(recipe)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float32).to(device)
    return results_of_rows(model, rows), rows


def write_cell(
    run: Path, cell: dict[str, Any], rows: AxolotlRows, found: RowResults, seconds: float
) -> None:
    """Write the results and `cell.json` into the folder of a run.

    Args:
        run: its output directory.
        cell: its keys.
        rows: the test rows.
        found: what the model said of them.
        seconds: since it was begun.
    """
    ledger = read_ledger(run)
    timing = json.loads((run / RECORDS / "timing.json").read_text(encoding="utf-8"))
    write_results(run, "/".join(map(str, cell.values())), rows, found, digest_of(run))
    tasks = ledger["tasks"]
    # No losses were taken on the way; those after the last step are in the ledger.
    last = [task["last_validation_loss"] for task in tasks.values()]
    said = {
        "cell": cell,
        "tasks": list(tasks),
        "steps": ledger["steps"],
        "available_tokens": [task["available"] for task in tasks.values()],
        "seconds": timing["training"],
        "curve": {"tokens": [ledger["used"]], "seconds": [timing["training"]], "losses": [last]},
        "wall_seconds": seconds,
    }
    (run / CELL).write_text(json.dumps(said) + "\n", encoding="utf-8")


def digest_of(run: Path) -> str:
    """Of the files of a model's weights."""
    found = hashlib.sha256()
    for file in sorted(run.glob("*.safetensors")):
        found.update(file.read_bytes())
    return found.hexdigest()
