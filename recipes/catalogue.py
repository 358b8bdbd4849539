"""The list of the recipes: what each trains, on what, and whether it was run. `grid.py` writes it.

Hardware and status stand in a recipe's opening comment, the rest in its keys.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from adapt_eval.report.markdown import table

COLUMNS = ("recipe", "model", "budget", "mixture", "tasks", "hardware", "status")
TEXT = """\
# Recipes

Made from the recipes by `make grid`. A learned recipe
(`adapt_...`) and its two twins differ in the mixture and the output directory alone, so that a
comparison of their runs is one of mixtures. Each recipe's opening comment says what it needs and
how to launch it. `adapt-axolotl plan RECIPE` tells what it will do before it is run.

{table}

`pretrained_study/` has the two recipes of the study with a model that was trained on text first
([study.md](../docs/study.md)): `pretrain.yml` and `fine_tune.yml`.
"""


def catalogue(folder: Path) -> str:
    """The page about all recipes of a folder, those that were run first.

    Raises:
        ValueError: a recipe's opening comment lacks its hardware or status.
    """
    rows = [row(file) for file in sorted(folder.glob("*.yml"))]
    rows.sort(key=lambda one: one[-1].startswith("not yet"))
    return TEXT.format(table=table(COLUMNS, rows, set()))


def row(file: Path) -> tuple[str, ...]:
    """A recipe's line, in the order of `COLUMNS`."""
    text = file.read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    tasks = {entry.get("task", entry["path"]) for entry in recipe["datasets"]}
    return (
        f"[{file.stem}]({file.name})",
        "tiny Qwen3" if recipe["base_model"].startswith("data/tiny") else recipe["base_model"],
        str(recipe["adapt"]["token_budget"]),
        recipe["adapt"].get("mixture", "learned"),
        str(len(tasks)),
        comment(text, "Hardware", file),
        comment(text, "Status", file),
    )


def comment(text: str, key: str, file: Path) -> str:
    """What the opening comment says under a key."""
    found = re.search(rf"^# {key}: +(.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{file}: its opening comment has no line `# {key}:`; add one")
    return found[1]
