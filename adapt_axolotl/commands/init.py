"""Turn an Axolotl YAML that trains into an ADAPT recipe, by adding lines and changing none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from adapt_axolotl.recipe.edit import RecipeText
from adapt_axolotl.recipe.meanings import told
from adapt_axolotl.recipe.names import PLUGIN, TRAINER, check_task_name
from adapt_axolotl.recipe.read import read_recipe

# Names of splits: they tell the files of one task apart, not the tasks.
_SPLIT = r"(?:train(?:ing)?|val(?:id(?:ation)?)?|eval(?:uation)?|dev|test(?:ing)?|data)"
# Values of `path:` that name a loader; the data is under `data_files:` then.
_LOADERS = {"json", "csv", "parquet", "arrow", "text"}


@dataclass(frozen=True)
class Initialised:
    """A recipe's new text, and what was done.

    Attributes:
        text: of the recipe.
        added: a line for each thing that was.
        present: a line for each thing that was there already.
        meanings: a line for each key that means something else here than without the plugin.
    """

    text: str
    added: list[str]
    present: list[str]
    meanings: list[str]


def adapt_recipe(text: str, token_budget: str | None = None) -> Initialised:
    """Add what ADAPT needs to the text of an Axolotl YAML.

    Args:
        text: the YAML; comments, order and line ends are kept.
        token_budget: of the new `adapt:` block; 5 % by default.

    Raises:
        ValueError: the YAML cannot be an ADAPT recipe, with the key and the remedy.
    """
    recipe = RecipeText(text)
    raw = recipe.values
    for key in ("datasets", "test_datasets"):
        entries = raw.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise ValueError(f"{key}: must be a list of entries with path: and type:")
        for index, entry in enumerate(entries):
            check_task_name(entry, f"{key}[{index}]")
    added: list[str] = []
    present: list[str] = []
    blocks: list[str] = []

    if PLUGIN in (raw.get("plugins") or []):
        present.append(f"plugins: {PLUGIN}")
    elif "plugins" in raw:
        recipe.append("plugins", PLUGIN)
        added.append(f"plugins: {PLUGIN}")
    else:
        blocks.append(f"plugins:\n  - {PLUGIN}")
        added.append(f"plugins: {PLUGIN}")
    if raw.get("trainer_cls") == TRAINER:
        present.append(f"trainer_cls: {TRAINER}")
    elif raw.get("trainer_cls"):
        raise ValueError(
            f"trainer_cls: {raw['trainer_cls']} would take the place of {TRAINER}, which draws the "
            "mixture; remove it from the recipe"
        )
    else:
        blocks.append(f"trainer_cls: {TRAINER}  # stops the run if the package is missing")
        added.append(f"trainer_cls: {TRAINER}")
    if "adapt" in raw:
        if token_budget is not None:
            raise ValueError(
                "adapt: the block is there already; change its token_budget there, and leave out "
                "--token-budget"
            )
        present.append("adapt: the block")
    else:
        token_budget = token_budget or "5%"
        blocks.append(
            "adapt:\n"
            f"  token_budget: {token_budget}  # of the supervised tokens of the training pools; "
            "or their number\n"
            "  mixture: learned"
        )
        added.append(f"adapt: token_budget {token_budget}, mixture learned")
    if blocks:
        recipe.add("\n".join(blocks), before="datasets")

    names = task_names(raw.get("datasets") or [])
    tests = _test_names(raw.get("datasets") or [], names, raw.get("test_datasets") or [])
    for key, derived in (("datasets", names), ("test_datasets", tests)):
        entries = raw.get(key) or []
        missing = [
            None if entry.get("task") or entry.get("target") else name
            for entry, name in zip(entries, derived, strict=True)
        ]
        if any(missing):
            recipe.name_entries(key, missing)
        for index, (entry, name) in enumerate(zip(entries, derived, strict=True)):
            found = present if entry.get("task") or entry.get("target") else added
            kind = "target" if entry.get("target") else "task"
            found.append(f"{key}[{index}] ({entry.get('path')}): {kind} {name}")
    changed = recipe.result()
    read_recipe(yaml.safe_load(changed))
    return Initialised(changed, added, present, told(raw))


def task_names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each entry of `datasets:`: its own `task:`, else one made from its path. Made
    names differ from all others; entries of one path are told apart by subset or split, else by
    number."""
    taken = {str(entry["task"]) for entry in entries if entry.get("task")}
    short = Counter(_from_path(entry) for entry in entries)
    names = []
    for entry in entries:
        if entry.get("task"):
            names.append(str(entry["task"]))
            continue
        name = _from_path(entry)
        if short[name] > 1:
            parts = (name, *(str(entry[key]) for key in ("name", "split") if entry.get(key)))
            name = _clean("_".join(parts))
        base, number = name, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _test_names(
    entries: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    tests: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The task or target of each entry of `test_datasets:`: its own, else that of the one dataset
    whose path gives the same name."""
    found = []
    for index, test in enumerate(tests):
        same = {
            name
            for entry, name in zip(entries, names, strict=True)
            if _from_path(entry) == _from_path(test)
        }
        if test.get("task") or test.get("target"):
            found.append(str(test.get("task") or test["target"]))
        elif len(same) == 1:
            found.append(same.pop())
        else:
            choice = ", ".join(dict.fromkeys(names))
            raise ValueError(
                f"test_datasets[{index}] ({test.get('path')}): its path does not tell which task "
                f"it validates; add task: with one of {choice}, or remove the entry, and a part "
                "of every task is held out instead"
            )
    return found


def _from_path(entry: Mapping[str, Any]) -> str:
    """`data/qa/train.jsonl` and `org/qa` and `qa_train.json` are all `qa`."""
    source = entry.get("path")
    files = entry.get("data_files")
    if source in _LOADERS and files:
        source = files[0] if isinstance(files, list) else files
    parts = [
        part for part in PurePosixPath(str(source)).parts if not re.search(r"^[./]+$|:$", part)
    ]
    stems = [re.sub(r"(?:\.(?:jsonl?|csv|parquet|arrow|txt|gz|zst))+$", "", part) for part in parts]
    stems = [re.sub(rf"(?i)^{_SPLIT}[-_.]|[-_.]{_SPLIT}$", "", stem) for stem in stems]
    telling = [stem for stem in stems if not re.fullmatch(rf"(?i){_SPLIT}", stem)]
    return _clean((telling or stems or [""])[-1])


def _clean(name: str) -> str:
    """Only what is easy to write in a recipe and on a command line."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "task"
