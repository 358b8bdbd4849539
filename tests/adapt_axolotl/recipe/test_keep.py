"""Bounds of the tasks that are no targets, from another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.recipe.keep import kept_bounds, spent_on_kept
from adapt_axolotl.recipe.read import read_recipe

NAMES = ("a", "b", "c")


@pytest.fixture
def uniform(tmp_path: Path) -> Path:
    """A finished run over the three tasks."""
    losses = {"a": 1.0, "b": 2.0, "c": 0.5}
    tasks = {name: {"last_validation_loss": loss} for name, loss in losses.items()}
    (tmp_path / "uniform/adapt").mkdir(parents=True)
    ledger = {"used": 4000, "meta_tokens": 100, "tasks": tasks}
    (tmp_path / "uniform/adapt/ledger.json").write_text(json.dumps(ledger))
    return tmp_path / "uniform"


def config(**learned: Any) -> AdaptConfig:
    return AdaptConfig(token_budget="5%", learned=learned)


def test_tasks_that_are_no_targets_are_held_near_their_losses_in_the_run(uniform: Path) -> None:
    assert kept_bounds(config(keep=str(uniform)), NAMES, ["b"]) == pytest.approx(
        {"a": 1.1, "c": 0.55}
    )
    closer = config(keep=str(uniform), keep_margin="2%")
    assert kept_bounds(closer, NAMES, ["b"])["a"] == pytest.approx(1.02)


def test_a_bound_of_the_recipe_goes_before_and_without_keep_there_are_no_others(
    uniform: Path,
) -> None:
    own = config(keep=str(uniform), bounds={"a": 3.0})
    assert kept_bounds(own, NAMES, ["b"]) == pytest.approx({"a": 3.0, "c": 0.55})
    assert kept_bounds(config(bounds={"a": 3.0}), NAMES, ["b"]) == {"a": 3.0}


def test_what_the_run_does_not_tell_is_named_with_the_way_out(uniform: Path) -> None:
    with pytest.raises(
        ValueError, match=r"keep: holds the tasks that are no targets, and there ar"
    ):
        kept_bounds(config(keep=str(uniform)), NAMES, [])
    with pytest.raises(ValueError, match=r"last validation loss of task 'd'; .*adapt-axolotl twin"):
        kept_bounds(config(keep=str(uniform)), (*NAMES, "d"), ["b"])
    with pytest.raises(
        ValueError, match=r"keep: missing: no adapt/ledger.json.*adapt-axolotl twin"
    ):
        kept_bounds(config(keep="missing"), NAMES, ["b"])
    with pytest.raises(ValueError, match="'much' is no part of a loss; write a percentage"):
        config(keep=str(uniform), keep_margin="much")


def test_a_recipe_trains_with_the_bounds(uniform: Path, tmp_path: Path) -> None:
    datasets = []
    for name in NAMES:
        file = tmp_path / f"{name}.jsonl"
        file.write_text("{}\n")
        datasets.append({"path": str(file), "task": name, "type": "chat_template"})
    learned = {"keep": str(uniform), "targets": ["b"]}
    raw = {"adapt": {"token_budget": "5%", "learned": learned}, "datasets": datasets}
    assert read_recipe(raw).learned.bounds == pytest.approx({"a": 1.1, "c": 0.55})
    # As Axolotl hands it on.
    assert read_recipe(raw).learned.bounds == pytest.approx({"a": 1.1, "c": 0.55})


def test_the_tokens_of_the_run_are_told(uniform: Path) -> None:
    assert spent_on_kept(config(targets=["a"], keep=str(uniform))) == 4100
    assert spent_on_kept(config(targets=["a"])) == 0
