"""Records of runs that were never trained, written by the code that writes those of real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from adapt_axolotl.records.write import RunDirectory
from adapt_axolotl.run.state import AdaptRun
from tests.support.plain_runs import make_plan
from tests.support.plain_runs import train as train_all_steps

RECIPE = """\
# A recipe.

base_model: org/model   # why

plugins:
  - adapt_axolotl.AdaptPlugin
adapt:
  token_budget: 5000
  unit: tokens
  floor: 0.2   # only while learning
  learned:
    start_after: 5%

datasets:
  - {path: org/a, task: a}
  - {path: data/b.jsonl, task: b}
  - {path: org/c, task: c}

output_dir: out   # here
seed: 1
"""


def made_records(
    folder: Path, *, mixture: str = "learned", ended: bool = True, **changes: Any
) -> Path:
    """An output directory with records over the tasks a, b and c, drawn at 50, 20 and 30 %.

    Args:
        folder: the output directory.
        mixture: what the records say was asked for.
        ended: whether the run came to its end.
        changes: of the plan.
    """
    config = {
        "recipe": {
            "base_model": "org/model",
            "output_dir": "out",
            "adapt": {"mixture": mixture, "unit": "tokens"},
        },
        "seed": 0,
        "mixture": mixture,
        "budget": 5000,
        "tasks": ["a", "b", "c"],
        "processes": 1,
        "versions": {"adapt-axolotl": "0.1.0", "axolotl": "0.19.0", "deepspeed": None},
        "git": {"commit": "0123456789abcdef", "dirty": False},
    }
    losses = iter([np.array([3.0, 2.0, 2.5]), np.array([1.0, 1.5, 2.0])])
    directory = RunDirectory(folder, config, RECIPE)
    run = AdaptRun(make_plan(**changes), None, lambda rows: next(losses), directory)
    run.start()
    train_all_steps(run)
    if mixture == "learned":
        _as_learned(folder)
    if ended:
        run.finish()
    return folder


def _as_learned(folder: Path) -> None:
    """Let each line of the history tell of a meta step."""
    file = folder / "adapt" / "history.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(f"{json.dumps({**one, 'estimator': 'made'})}\n" for one in lines))
