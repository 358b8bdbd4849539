"""The same run on one process and on several, under DDP and under DeepSpeed."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing

from adapt_axolotl.metagradient.ranks import Ranks
from tests.support.launch import (
    PRODUCTS,
    TASKS,
    free_port,
    ledger,
    log_lines,
    process_of_rank,
    recipe,
    start,
    train,
    train_until,
)
from tests.support.same_run import assert_as_if_not_stopped, assert_same_run
from tests.support.sharded_runs import LORA, train_with_deepspeed, weights_of

# What needs most of the processes: gradients of all of them, and their sum.
BY_PRODUCTS = {"adapt": {"learned": {**PRODUCTS, "update_every": 3, "start_after": "5%"}}}


@pytest.fixture(scope="module")
def one(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, four micro-batches of four rows a step, by gradient products."""
    folder = tmp_path_factory.mktemp("one")
    config = recipe(tiny, folder, **GLOBAL_BATCH, gradient_accumulation_steps=4)
    train(config, folder)
    return folder


@pytest.fixture(scope="module")
def one_by_losses(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by the losses of training."""
    folder = tmp_path_factory.mktemp("one_by_losses")
    train(recipe(tiny, folder, micro_batch_size=4, gradient_accumulation_steps=4), folder)
    return folder


GLOBAL_BATCH = {"micro_batch_size": 4, **BY_PRODUCTS}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_draw_and_learn_what_one_does(
    one: Path, tiny: Path, tmp_path: Path, processes: int
) -> None:
    config = recipe(tiny, tmp_path, **GLOBAL_BATCH, gradient_accumulation_steps=4 // processes)
    train(config, tmp_path, processes=processes)
    assert_same_run(tmp_path, one, tolerance=1e-6)


@pytest.mark.slow
def test_several_processes_take_the_training_losses_that_one_does(
    one_by_losses: Path, tiny: Path, tmp_path: Path
) -> None:
    train(
        recipe(tiny, tmp_path, micro_batch_size=4, gradient_accumulation_steps=2),
        tmp_path,
        processes=2,
    )
    assert_same_run(tmp_path, one_by_losses, tolerance=1e-6)


@pytest.mark.slow
def test_several_processes_draw_phases_and_quotas_and_log_the_losses_that_one_does(
    tiny: Path, tmp_path: Path
) -> None:
    adapt = {
        "mixture": "phases",
        "phases": [{"until": "50%", "mixture": "uniform"}, {"mixture": "proportional"}],
        "tokens": {"copy": 600},
        "log_task_losses": True,
    }
    folders = {processes: tmp_path / str(processes) for processes in (1, 2)}
    for processes, folder in folders.items():
        batch = {"micro_batch_size": 4, "gradient_accumulation_steps": 4 // processes}
        saved = {"save_strategy": "steps", "save_steps": 1000}  # the last step is saved
        config = recipe(tiny, folder, adapt=dict(adapt), **batch, **saved)
        train(config, folder, processes=processes)
    assert_same_run(folders[2], folders[1], tolerance=1e-12)
    assert 600 - 11 < ledger(folders[2])["tasks"]["copy"]["tokens"] <= 600
    lines, others = (log_lines(folder) for folder in folders.values())
    keys = [f"adapt/loss/{task}" for task in TASKS]
    found = [[line.get(key, np.nan) for key in keys] for line in lines if "loss" in line]
    expected = [[line.get(key, np.nan) for key in keys] for line in others if "loss" in line]
    assert len(found) > 5
    assert np.array(found) == pytest.approx(np.array(expected), rel=1e-3, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_sharded_optimizers_draw_and_learn_what_one_process_does(
    one: Path, tiny: Path, tmp_path: Path, stage: int
) -> None:
    train_with_deepspeed(tiny, tmp_path, stage, **GLOBAL_BATCH)
    assert_same_run(tmp_path, one, tolerance=1e-5)


# Up to 1.5e-6 was seen.
ZERO3_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def from_weights(
    one: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """One process that goes on from saved weights, and the keys of its recipe that say so."""
    folder = tmp_path_factory.mktemp("from_weights")
    weights = weights_of(one)
    train(recipe(tiny, folder, **GLOBAL_BATCH, gradient_accumulation_steps=4, **weights), folder)
    return folder, weights


@pytest.mark.slow
def test_sharded_parameters_draw_and_learn_what_one_process_does(
    from_weights: tuple[Path, dict[str, Any]], tiny: Path, tmp_path: Path
) -> None:
    alone, weights = from_weights
    train_with_deepspeed(tiny, tmp_path, 3, **GLOBAL_BATCH, **weights)
    assert_same_run(tmp_path, alone, tolerance=ZERO3_TOLERANCE)


@pytest.mark.slow
def test_adapters_of_sharded_parameters_draw_and_learn_what_one_process_does(
    from_weights: tuple[Path, dict[str, Any]], tiny: Path, tmp_path: Path
) -> None:
    _, weights = from_weights
    alone, together = tmp_path / "alone", tmp_path / "together"
    changes = {**copy.deepcopy(GLOBAL_BATCH), **weights, **LORA}
    train(recipe(tiny, alone, gradient_accumulation_steps=4, **changes), alone)
    train_with_deepspeed(tiny, together, 3, **GLOBAL_BATCH, **weights, **LORA)
    assert_same_run(together, alone, tolerance=ZERO3_TOLERANCE)


@pytest.mark.slow
def test_sharded_parameters_that_are_read_go_on_as_if_not_stopped(
    from_weights: tuple[Path, dict[str, Any]], tiny: Path, tmp_path: Path
) -> None:
    _, weights = from_weights
    saved = {"save_strategy": "steps", "save_steps": 10, "auto_resume_from_checkpoints": True}
    together, resumed = tmp_path / "together", tmp_path / "resumed"
    train_with_deepspeed(tiny, together, 3, **GLOBAL_BATCH, **weights, **saved)
    shutil.copytree(together, resumed)
    for checkpoint in resumed.glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-10":
            shutil.rmtree(checkpoint)
    train_with_deepspeed(tiny, resumed, 3, **GLOBAL_BATCH, **weights, **saved)
    assert_as_if_not_stopped(resumed, together, "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("reentrant", [True, False])
def test_sharded_parameters_are_measured_with_the_recipes_checkpointing(
    from_weights: tuple[Path, dict[str, Any]],
    repository: Path,
    tiny: Path,
    tmp_path: Path,
    reentrant: bool,
) -> None:
    alone, weights = from_weights
    train_with_deepspeed(
        tiny,
        tmp_path,
        3,
        {"PYTHONPATH": str(repository)},
        plugins=["adapt_axolotl.AdaptPlugin", "tests.support.checkpointing.CheckpointingPlugin"],
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": reentrant},
        **GLOBAL_BATCH,
        **weights,
    )
    seen = json.loads((tmp_path / "checkpointing.json").read_text())
    assert seen["measured"] > 10
    assert seen["layers_measured"] == 2 * seen["measured"]  # once more in the backward
    assert seen["use_reentrant"] == [reentrant] * len(seen["use_reentrant"]) != []
    assert_same_run(tmp_path, alone, tolerance=ZERO3_TOLERANCE)


@pytest.mark.slow
def test_a_resume_on_more_processes_goes_on_with_the_same_rows(
    one: Path, tiny: Path, tmp_path: Path
) -> None:
    changes = {
        **GLOBAL_BATCH,
        "save_strategy": "steps",
        "save_steps": 4,
        "auto_resume_from_checkpoints": True,
    }
    config = recipe(tiny, tmp_path, **changes, gradient_accumulation_steps=4)
    assert train_until(config, tmp_path, lambda line: " 14/" in line)
    config = recipe(tiny, tmp_path, **changes, gradient_accumulation_steps=2)
    train(config, tmp_path, processes=2)
    assert_same_run(tmp_path, one, tolerance=1e-6)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_with_its_name(tiny: Path, tmp_path: Path) -> None:
    config = recipe(tiny, tmp_path, gradient_accumulation_steps=1)
    process = start(config, tmp_path, processes=2)
    assert process.stdout is not None
    output = []
    for line in process.stdout:
        output.append(line)
        if " 3/" in line:
            os.kill(process_of_rank(str(tmp_path), 1), signal.SIGKILL)
            break
    begun = time.monotonic()
    output += process.stdout.readlines()
    assert process.wait() != 0
    assert time.monotonic() - begun < 120
    text = "".join(output)
    assert "rank      : 1" in text
    assert "Signal 9" in text or "exitcode  : -9" in text


def compare(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    ranks = Ranks(rank, 2)
    shares = torch.tensor([0.1, 0.9], dtype=torch.float64)
    same = ranks.agree(shares)
    one_bit = torch.nextafter(shares, torch.ones(2, dtype=torch.float64)) if rank else shares
    (Path(folder) / str(rank)).write_text(f"{same} {ranks.agree(one_bit)}")
    torch.distributed.destroy_process_group()


def test_processes_notice_a_bit_that_differs(tmp_path: Path) -> None:
    port: Any = free_port()
    torch.multiprocessing.spawn(compare, (port, str(tmp_path)), nprocs=2)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["True False"] * 2
    assert Ranks().agree(torch.tensor([1.0]))
