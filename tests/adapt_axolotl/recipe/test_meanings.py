"""Keys that mean something else here are told, and those that do not are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.utils.schemas.config import AxolotlInputConfig

from adapt_axolotl.commands.init import adapt_recipe
from adapt_axolotl.recipe.meanings import MEANINGS, told


def test_each_key_is_listed_once_and_is_one_of_axolotls() -> None:
    keys = [key for meaning in MEANINGS for key in meaning.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) <= {*AxolotlInputConfig.model_fields}


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ({"save_strategy": "epoch", "eval_strategy": "steps"}, ["save_strategy"]),
        ({"num_epochs": 3, "saves_per_epoch": 2}, ["num_epochs", "saves_per_epoch"]),
        ({"evals_per_epoch": None, "save_strategy": "no"}, []),
        ({"val_set_size": 0.01}, ["val_set_size"]),
        ({"dataloader_num_workers": 0, "dataloader_prefetch_factor": 2}, ["dataloader_prefetch_f"]),
        ({"shuffle_merged_datasets": True, "dataset_exact_deduplication": False}, []),
        ({"shuffle_merged_datasets": False}, ["shuffle_merged_datasets: False means here: No eff"]),
        ({"dataset_exact_deduplication": True}, ["dataset_exact_deduplication"]),
        ({"max_steps": 5, "lr_scheduler": "cosine", "learning_rate": 1e-4}, []),
    ],
)
def test_a_key_is_told_where_its_value_means_something_else(
    recipe: dict[str, Any], keys: list[str]
) -> None:
    lines = told(recipe)
    assert len(lines) == len(keys)
    assert all(line.startswith(key) for line, key in zip(lines, keys, strict=True))


def test_init_tells_them(tmp_path: Path) -> None:
    entries = [{"path": f"org/{name}", "type": "alpaca"} for name in "ab"]
    text = yaml.safe_dump({"num_epochs": 3, "save_strategy": "epoch", "datasets": entries})
    said = adapt_recipe(text).meanings
    assert [line.partition(":")[0] for line in said] == ["num_epochs", "save_strategy"]
    assert "300%" in said[0]
