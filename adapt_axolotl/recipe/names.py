"""The names in a recipe: its tasks and targets, its data, the plugin and its trainer."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapt_common.hub import looks_like_hub_name

# As a recipe names them.
PLUGIN = "adapt_axolotl.AdaptPlugin"
TRAINER = "adapt_axolotl.trainer.AdaptTrainer"
# A path with one of these endings is a file, not a name on the hub.
DATA_FILES = {".jsonl", ".json", ".csv", ".parquet"}


def task_names(cfg: Mapping[str, Any], key: str) -> list[str]:
    return [task_name(entry) for entry in cfg.get(key) or [] if isinstance(entry, Mapping)]


def trained_tasks(cfg: Mapping[str, Any]) -> list[str]:
    """The tasks that a recipe trains on, each once."""
    return list(dict.fromkeys(task_names(cfg, "datasets")))


def target_tasks(cfg: Mapping[str, Any]) -> list[str]:
    """The tasks that entries of `test_datasets` name by `target:`, each once."""
    entries = [one for one in cfg.get("test_datasets") or [] if isinstance(one, Mapping)]
    return list(dict.fromkeys(str(entry["target"]) for entry in entries if entry.get("target")))


def target_weights(cfg: Mapping[str, Any]) -> dict[str, float]:
    """`weight:` of the targets of `test_datasets` that have one.

    Raises:
        ValueError: it is no number above 0, stands beside no `target:`, or a target has two.
    """
    weights: dict[str, float] = {}
    for index, entry in enumerate(cfg.get("test_datasets") or []):
        if not isinstance(entry, Mapping) or "weight" not in entry:
            continue
        where, weight = f"test_datasets[{index}].weight", entry["weight"]
        if not entry.get("target"):
            raise ValueError(
                f"{where}: says how much a target counts, and this entry has no target:; write "
                "target: in place of task:, or remove it (adapt.eval_weights weighs tasks in "
                "eval_loss)"
            )
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (number and 0 < weight < math.inf):
            raise ValueError(
                f"{where}: {weight!r} is no number above 0; write one, as in weight: 2, or remove "
                "it: a target without one has 1"
            )
        name = str(entry["target"])
        if weights.setdefault(name, float(weight)) != weight:
            raise ValueError(
                f"{where}: target {name} has weight {weights[name]:g} in another entry; give all "
                "of its entries the same, or write it once"
            )
    return weights


def task_name(entry: Mapping[str, Any]) -> str:
    """`task:` of a dataset entry, or its `target:`, else its path."""
    return str(entry.get("task") or entry.get("target") or entry.get("path"))


def check_task_name(entry: Mapping[str, Any], where: str) -> None:
    """
    Raises:
        ValueError: `task:` or `target:` is there and is no name. YAML reads an unquoted no, off or
            nothing as one of its own values, which would give the entry another task without a
            word. Or both are there, or a target among the training data.
    """
    if not isinstance(entry, Mapping):
        return
    for key in ("task", "target"):
        name = entry.get(key, "path")
        if isinstance(name, str | int | float) and not isinstance(name, bool) and str(name).strip():
            continue
        empty = name is None or str(name).strip() == ""
        raise ValueError(
            f"{where}.{key}: {'is empty' if empty else f'{name!r} is no name'}; write a name in "
            f'quotes, as in {key}: "qa", or remove the key, and the entry\'s path is the name'
        )
    if "target" in entry and not where.startswith("test_datasets"):
        raise ValueError(
            f"{where}.target: a target is what training is for, and is measured on test_datasets; "
            "write task: here, and target: in an entry of test_datasets"
        )
    if "target" in entry and "task" in entry:
        raise ValueError(
            f"{where}: has task: {entry['task']} and target: {entry['target']}; keep target: where "
            "these rows are what the mixture is to be good at, task: where they are the validation "
            "rows of a training task like any other"
        )


def is_hub_name(path: str) -> bool:
    """Whether a path names a repository of the hub (`name` or `owner/name`) and nothing here."""
    place = Path(path)
    return looks_like_hub_name(path) and place.suffix not in DATA_FILES and not os.path.exists(path)
