"""Train one cell of the study: a process of its own, which `run_study.py` starts. K tasks.

Draws, mixture, budget and records are what the `adapt:` block of a recipe makes of them; only
Axolotl's Trainer is replaced by a plain loop. The folder of a cell is there when its run is whole:

    adapt/                      the run's own records
    eval/study_exact_match/     results by test row, as `adapt-eval run` leaves them
    eval/study_loss/
    cell.json                   what only the study asks: losses on the way, what it took
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from study_data import prepared
from study_done import CELL
from study_grid import Cell, block
from study_model import make_model, make_optimizer, results_of_rows, train_to_the_end
from study_progress import PROGRESS
from study_recipe import learner_of, plan_of, spec_of
from study_results import write_results
from transformers import Qwen3ForCausalLM

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.records.provenance import provenance
from adapt_axolotl.records.write import RunDirectory
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun

# Losses on the way: at so many moments, on so many validation rows of each task; at the end, by
# which learning rates are chosen, on more. Not charged, and no part of the seconds.
MOMENTS, CURVE_ROWS, LAST_ROWS = 10, 8, 50
HISTORY_LINES = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--cell", type=json.loads, required=True, help="its five keys, as JSON")
    parser.add_argument("--tokens", type=int, required=True, help="supervised ones")
    parser.add_argument("--earlier", type=Path, help="folder of the run that it comes from")
    parser.add_argument("--begun", type=float, required=True, help="when it was started")
    given = parser.parse_args()
    train_cell(Cell(**given.cell), given.out, given.tokens, given.earlier, given.begun)


def train_cell(cell: Cell, out: Path, tokens: int, earlier: Path | None, begun: float) -> None:
    """Train it and leave its folder below `out`.

    Args:
        cell: which run.
        out: folder of the study, where `study_data.prepare` has left the rows in `data`.
        tokens: supervised ones that it may train on.
        earlier: folder of the run that it comes from; None without one.
        begun: when it was started, in seconds of `time.time`.
    """
    parent = os.getppid()
    torch.set_num_threads(1)
    # Of this process alone: one whose study was killed may still be at its last step.
    place = out / ".running" / f"{cell.name.replace('/', ',')},{os.getpid()}"
    data = prepared(out / "data", cell.regime)
    adapt = block(cell, tokens, earlier)
    spec = spec_of(adapt, data, cell.seed, place)
    plan = plan_of(spec, data)
    model = make_model(cell.seed)
    rows, validation = data.train.measuring(), data.validation.measuring()
    optimizer = make_optimizer(model)

    def rate_in_force() -> float:
        return float(optimizer.param_groups[0]["lr"])

    learner = learner_of(spec, plan, data, model, rows, validation, rate_in_force)

    def measure(rows_per_task: int) -> np.ndarray:
        sample = validation.sample(rows_per_task, seed=cell.seed)
        with evaluation_mode(model):
            return validation_losses(model, validation, sample, len(plan.pools.tasks), Ranks())

    directory = RunDirectory(
        place, config_of(cell, adapt, plan), yaml.safe_dump(recipe(cell, adapt))
    )
    run = AdaptRun(plan, learner, measure, directory)
    curve: dict[str, list[Any]] = {"tokens": [], "seconds": [], "losses": []}

    def look(seconds: float, rows_per_task: int) -> None:
        curve["tokens"].append(run.ledger.used)
        curve["seconds"].append(round(seconds, 2))
        curve["losses"].append(rounded(measure(rows_per_task)))

    def after_step(seconds: float) -> None:
        if os.getppid() != parent:
            raise SystemExit("the study that started this run has ended")
        print(f"{PROGRESS}{run.progress:.3f}", flush=True)
        seen = len(curve["tokens"])
        if seen + 1 < MOMENTS and run.progress * MOMENTS >= seen + 1:
            look(seconds, CURVE_ROWS)

    run.start()
    seconds = train_to_the_end(
        run,
        model,
        optimizer,
        rows,
        cell.learning_rate,
        record_every=max(1, plan.estimate().steps // HISTORY_LINES),
        after_step=after_step,
    )
    run.finish()
    look(seconds, LAST_ROWS)
    found = results_of_rows(model, data.test)
    write_results(place, cell.name, data.test, found, digest_of(model))
    said = {
        "cell": asdict(cell),
        "tasks": list(plan.pools.tasks),
        "steps": run.ledger.steps,
        "available_tokens": plan.pools.available_tokens.tolist(),
        "seconds": round(seconds, 2),
        "curve": curve,
        "wall_seconds": round(time.time() - begun, 2),
    }
    (place / CELL).write_text(json.dumps(said) + "\n", encoding="utf-8")
    final = out / cell.name
    final.parent.mkdir(parents=True, exist_ok=True)
    place.rename(final)


def rounded(values: np.ndarray) -> list[float]:
    """As JSON has it; 4 digits behind the point are a tenth of what a row more or less changes."""
    return [round(float(value), 4) for value in values]


def digest_of(model: Qwen3ForCausalLM) -> str:
    """Of its weights, as results name their model."""
    found = hashlib.sha256()
    for _, weights in sorted(model.state_dict().items()):
        found.update(weights.numpy().tobytes())
    return found.hexdigest()


def recipe(cell: Cell, adapt: dict[str, Any]) -> dict[str, Any]:
    """What the records keep of the recipe; `adapt-eval compare` reads the seed."""
    return {"seed": cell.seed, "learning_rate": cell.learning_rate, "adapt": adapt}


def config_of(cell: Cell, adapt: dict[str, Any], plan: RunPlan) -> dict[str, Any]:
    """`config.yml` of the records."""
    return {
        "recipe": recipe(cell, adapt),
        "seed": cell.seed,
        "mixture": adapt["mixture"],
        "budget": plan.budget,
        "data_digest": plan.data_digest,
        "tasks": list(plan.pools.tasks),
        "processes": 1,
        **provenance(Path.cwd()),
    }


if __name__ == "__main__":
    main()
