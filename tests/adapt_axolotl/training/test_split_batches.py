"""Runs whose task scores come of micro-batches that are split by task: on several processes they
draw and learn what they do on one, with DoRA, whose modules cannot be read, too."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.launch import PRODUCTS, TASKS, history, ledger, recipe, train
from tests.support.same_run import assert_same_run
from tests.support.sharded_runs import FSDP2, LORA, train_with_deepspeed, weights_of

pytestmark = pytest.mark.slow

ESTIMATOR = "split_batches"
LEARNED = {**PRODUCTS, "update_every": 3, "start_after": "5%", "rows_per_task": 4}
SPLIT = {"micro_batch_size": 4, "adapt": {"learned": {**LEARNED, "estimator": ESTIMATOR}}}


def split_recipe(tiny: Path, folder: Path, accumulation: int, **changes: Any) -> dict[str, Any]:
    keys = {**copy.deepcopy(SPLIT), **changes}
    return recipe(tiny, folder, gradient_accumulation_steps=accumulation, **keys)


@pytest.fixture(scope="module")
def one(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, four micro-batches of four rows a step."""
    folder = tmp_path_factory.mktemp("one")
    train(split_recipe(tiny, folder, 4), folder)
    return folder


@pytest.fixture(scope="module")
def from_weights(
    one: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The same from saved weights, and the keys that say so."""
    folder = tmp_path_factory.mktemp("from_weights")
    weights = weights_of(one)
    train(split_recipe(tiny, folder, 4, **weights), folder)
    return folder, weights


def test_two_processes_draw_and_learn_what_one_does(one: Path, tiny: Path, tmp_path: Path) -> None:
    output = train(split_recipe(tiny, tmp_path, 2), tmp_path, processes=2)
    assert {line["estimator"] for line in history(tmp_path)} == {ESTIMATOR}
    assert_same_run(tmp_path, one, tolerance=1e-6)
    # Axolotl's count, which has no part that a process only keeps step with.
    counted = re.findall(r"'tokens/trainable': '?(\d+)", output)
    assert int(counted[-1]) == ledger(tmp_path)["used"]


@pytest.mark.parametrize("stage", [1, 2])
def test_sharded_optimizers_draw_and_learn_what_one_process_does(
    one: Path, tiny: Path, tmp_path: Path, stage: int
) -> None:
    keys = copy.deepcopy(SPLIT)
    train_with_deepspeed(tiny, tmp_path, stage, estimator=ESTIMATOR, **keys)
    assert_same_run(tmp_path, one, tolerance=1e-5)


def test_parameters_that_zero3_shards_draw_and_learn_what_one_process_does(
    from_weights: tuple[Path, dict[str, Any]], tiny: Path, tmp_path: Path
) -> None:
    alone, weights = from_weights
    keys = {**copy.deepcopy(SPLIT), **weights}
    train_with_deepspeed(tiny, tmp_path, 3, estimator=ESTIMATOR, **keys)
    assert_same_run(tmp_path, alone, tolerance=1e-4)


def test_parameters_that_fsdp2_shards_have_the_scores_of_one_process(
    one: Path, tiny: Path, tmp_path: Path
) -> None:
    """To the weights that the mean over a micro-batch gives its tokens: 15 % of the largest. Their
    errors are over parts of both processes at once, so later mixtures differ."""
    config = split_recipe(tiny, tmp_path, 2, **FSDP2)
    train(config, tmp_path, processes=2, shim="fsdp_on_cpu.py")
    lines = history(tmp_path)
    assert {line["estimator"] for line in lines} == {ESTIMATOR}
    found, expected = (
        np.array([found[0]["scores"][task] for task in TASKS], dtype=float)
        for found in (lines, history(one))
    )
    assert np.isfinite(expected).sum() > 3
    assert found == pytest.approx(expected, abs=0.15 * np.nanmax(np.abs(expected)), nan_ok=True)


def test_dora_whose_modules_have_no_rule_is_split_by_task(tiny: Path, tmp_path: Path) -> None:
    changes = {**LORA, "peft_use_dora": True}
    output = train(split_recipe(tiny, tmp_path, 2, **changes), tmp_path)
    assert "task scores by split_batches: agrees with one backward a task" in output
    lines = history(tmp_path)
    assert {line["estimator"] for line in lines} == {ESTIMATOR}
    assert any(np.isfinite(list(line["scores"].values())).any() for line in lines)
