"""The study's main arms with a model that was trained on text first, through `axolotl train`.

    python benchmarks/pretrained_study.py DIR/study --text TEXT.jsonl --out runs/pretrained_study
    python benchmarks/pretrained_study.py DIR/study --text TEXT.jsonl --out runs/trial \\
        --size tiny --pretrain-steps 20 --budget 0.1% --arms uniform,learned --seeds 1

TEXT has {"text": ...} lines. The model is trained on it once, by
`recipes/pretrained_study/pretrain.yml`; each run of an arm is `fine_tune.yml` with its mixture,
seed and budget. What is done is kept: start it again to go on. At the end tables are written beside
the runs; `--to docs/measured/pretrained` puts them where `study_page.py` finds them. All arms have
one learning rate, that of the recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from collect_study import CELL_COLUMNS, CELLS, COMPARISON_COLUMNS, COMPARISONS, lines_of, write
from pretrained_base import SIZES, write_base
from pretrained_results import measured, write_cell
from study_arms import ARMS
from study_compare import Group, compared
from study_done import finished
from study_grid import MAIN_REGIME, RATES, Cell, before, block, in_order

RECIPES = Path(__file__).parents[1] / "recipes" / "pretrained_study"
MAIN_ARMS = "uniform,proportional,temperature,learned,learned_sharp,replay_permuted"
# Of a machine without an accelerator.
CPU = {"bf16": False, "optimizer": "adamw_torch", "dataset_num_proc": 1, "micro_batch_size": 1}


def main() -> None:
    given = arguments()
    os.environ.update({"ADAPT_TEST_DATA": str(given.folder.parent), "STUDY_TEXT": str(given.text)})
    given.out.mkdir(parents=True, exist_ok=True)
    check_base(given)
    base = pretrain(given)
    rate = float(recipe("fine_tune")["learning_rate"])
    chosen = dict.fromkeys(product(ARMS, RATES), rate)
    cells = [
        Cell(MAIN_REGIME, arm, given.budget, rate, seed)
        for seed in given.seeds
        for arm in given.arms
    ]
    for cell in in_order(cells, chosen):
        fine_tune(given, base, cell, before(cell, chosen))
    collect(given.out, given.to or given.out / "tables", cells)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="DIR/study, a folder of rows a task")
    parser.add_argument("--text", type=Path, required=True, help='JSON lines of {"text": ...}')
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--to", type=Path, help="where the tables go; OUT/tables without it")
    parser.add_argument("--size", choices=list(SIZES), default="40m")
    parser.add_argument("--pretrain-steps", type=int, help="at most; else all of TEXT, once")
    parser.add_argument("--arms", type=lambda text: text.split(","), default=MAIN_ARMS.split(","))
    parser.add_argument(
        "--seeds", type=lambda text: [*map(int, text.split(","))], default=[1, 2, 3]
    )
    parser.add_argument("--budget", type=share, default=0.05)
    given = parser.parse_args()
    if unknown := [arm for arm in given.arms if arm not in ARMS]:
        parser.error(f"--arms: there is no {unknown[0]}; choose from {', '.join(ARMS)}")
    if without_run := [arm for arm in given.arms if ARMS[arm].needs and not ARMS[arm].key]:
        parser.error(f"--arms: {without_run[0]} is of run_study.py alone; leave it out")
    for key in ("folder", "text", "out"):
        setattr(given, key, getattr(given, key).absolute())
    return given


def share(text: str) -> float:
    """`5%`."""
    return float(text.removesuffix("%")) / 100


def recipe(name: str) -> dict[str, Any]:
    """A recipe, with the environment's folders in it."""
    text = (RECIPES / f"{name}.yml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(os.path.expandvars(text))
    return read | ({} if torch.cuda.is_available() else CPU)


def check_base(given: argparse.Namespace) -> None:
    """Keep what the runs of a folder begin with.

    Raises:
        SystemExit: those that are there began with another model.
    """
    asked = {key: str(getattr(given, key)) for key in ("size", "text", "pretrain_steps")}
    file: Path = given.out / "base.json"
    if not file.exists():
        file.write_text(json.dumps(asked) + "\n", encoding="utf-8")
    known = json.loads(file.read_text(encoding="utf-8"))
    if known != asked:
        sys.exit(f"{given.out}: holds runs of another model ({known}); give another --out")


def pretrain(given: argparse.Namespace) -> Path:
    """The folder of the model that was trained on text; trained now where it is not there."""
    base: Path = given.out / "base"
    if base.is_dir():
        return base
    made = given.out / "untrained"
    write_base(given.text, SIZES[given.size], made)
    changed = recipe("pretrain") | {
        "base_model": str(made),
        "dataset_prepared_path": str(given.out / "prepared_text"),
        "output_dir": str(given.out / ".training"),
    }
    if given.pretrain_steps:
        changed["max_steps"] = given.pretrain_steps
    train(given.out, "pretrain", changed)
    (given.out / ".training").rename(base)
    return base


def fine_tune(given: argparse.Namespace, base: Path, cell: Cell, needed: Cell | None) -> None:
    """Train and measure a cell, unless its folder is there."""
    out: Path = given.out
    if (out / cell.name).is_dir():
        return
    place = out / ".training"
    begun = time.time()
    earlier = None if needed is None else out / needed.name
    adapt = block(cell, 1, earlier) | {"token_budget": f"{cell.budget * 100:g}%"}
    changed = recipe("fine_tune") | {
        "base_model": str(base),
        "adapt": adapt,
        "seed": cell.seed,
        "dataset_prepared_path": str(out / "prepared"),
        "output_dir": str(place),
    }
    train(out, cell.name.replace("/", ","), changed)
    test = tests_of(changed, out)
    found, rows = measured(place, test)
    write_cell(place, asdict(cell), rows, found, time.time() - begun)
    for weights in place.glob("*.safetensors"):
        weights.unlink()
    final = out / cell.name
    final.parent.mkdir(parents=True, exist_ok=True)
    place.rename(final)
    print(f"{cell}: exact match {found.exact.mean():.3f}", flush=True)


def tests_of(trained: dict[str, Any], out: Path) -> Path:
    """A recipe whose validation rows are the test rows, in the place of the trained one's."""
    tests = [
        entry | {"path": entry["path"].replace("validation.jsonl", "test.jsonl")}
        for entry in trained["test_datasets"]
    ]
    file = out / "recipes" / "test.yml"
    changed = trained | {"test_datasets": tests, "adapt": {"token_budget": "5%"}}
    file.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    return file


def train(out: Path, name: str, changed: dict[str, Any]) -> None:
    """Run `axolotl train`.

    Raises:
        SystemExit: it failed; its output is in a log.
    """
    shutil.rmtree(changed["output_dir"], ignore_errors=True)
    file, log = out / "recipes" / f"{name}.yml", out / "logs" / f"{name}.txt"
    for folder in (file.parent, log.parent):
        folder.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    print(f"axolotl train {file}", flush=True)
    command = [str(Path(sys.executable).with_name("axolotl")), "train", str(file)]
    with log.open("wb") as stream:
        ended = subprocess.run(
            [*command, "--launcher", "python"], stdout=stream, stderr=subprocess.STDOUT
        )
    if ended.returncode:
        sys.exit(f"{name}: axolotl train failed; see {log}")


def collect(out: Path, to: Path, cells: list[Cell]) -> None:
    """Both tables, of these cells."""
    known = finished(out)
    to.mkdir(parents=True, exist_ok=True)
    lines = [line for cell in cells for line in lines_of(out, cell, known[cell], True)]
    write(to / CELLS, lines, CELL_COLUMNS)
    by_arm: dict[str, list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault(cell.arm, []).append(cell)
    found = []
    if "uniform" in by_arm and len(by_arm) > 1:
        found = list(compared(out, Group("all", MAIN_REGIME, cells[0].budget, by_arm, {})))
    write(to / COMPARISONS, found, COMPARISON_COLUMNS)
    for line in found:
        if line["kind"] == "uniform" and line["level"] == "suite":
            print(json.dumps({key: line[key] for key in ("arm", "metric", "a", "b", "verdict")}))


if __name__ == "__main__":
    main()
