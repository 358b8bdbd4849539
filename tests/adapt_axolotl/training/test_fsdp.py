"""Under FSDP each forward of the model is a collective: all processes must run as many."""

from __future__ import annotations

import copy
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient import head_loss
from adapt_axolotl.metagradient.ranks import Ranks
from benchmarks.fsdp_modules import shard
from tests.support.launch import (
    PRODUCTS,
    history,
    ledger,
    log_lines,
    recipe,
    train,
    train_until,
)
from tests.support.launch import TASKS as TINY_TASKS
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model
from tests.support.same_run import assert_as_if_not_stopped, assert_same_run
from tests.support.sharded_runs import FSDP2, LORA
from tests.support.two_processes import in_two_processes

# Of a single row one process has none; without one, none has a forward.
COUNTS = (17, 1, 0)


def measure(model: torch.nn.Module, ranks: Ranks) -> list[list[float]]:
    source = make_measuring_rows(3)
    return [
        validation_losses(model, source, np.arange(count), len(TASKS), ranks).tolist()
        for count in COUNTS
    ]


def measure_sharded(chunk: int, ranks: Ranks) -> list[list[float]]:
    model = make_model("llama")
    # Parameters that stay whole after a forward must not lead the next one another way.
    shard(model, reshard_after_forward=chunk > 1)
    head_loss.CHUNK = chunk  # in a process of its own
    return measure(model, ranks)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [head_loss.CHUNK, 1])
def test_processes_measure_sharded_parameters_in_step(chunk: int, tmp_path: Path) -> None:
    expected = measure(make_model("llama"), Ranks())
    for found in in_two_processes(partial(measure_sharded, chunk), tmp_path):
        assert found == pytest.approx(np.array(expected), rel=1e-6, nan_ok=True)


def static_recipe(tiny: Path, folder: Path, accumulation: int, **changes: Any) -> dict[str, Any]:
    """One task has a single validation row, so that two processes never have as many rows."""
    config = recipe(
        tiny,
        folder,
        micro_batch_size=4,
        gradient_accumulation_steps=accumulation,
        adapt={"mixture": "uniform", "token_budget": 800},
        **changes,
    )
    entry = config["test_datasets"][0]
    row = tiny / "one_row.jsonl"
    row.write_text(Path(entry["path"]).read_text().splitlines()[0] + "\n")
    entry["path"] = str(row)
    return config


def assert_same_losses(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for task, counts in expected["tasks"].items():
        assert found["tasks"][task] == pytest.approx(counts, rel=1e-4)


@pytest.mark.slow
def test_a_static_mixture_trains_under_fsdp_as_on_one_process(tiny: Path, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    train(static_recipe(tiny, alone, 4), alone)
    config = static_recipe(tiny, together, 2, **FSDP2)
    train(config, together, processes=2, shim="fsdp_on_cpu.py")
    assert_same_losses(ledger(together), ledger(alone))


def resumed_from(folder: Path, aside: Path, config: dict[str, Any], step: int) -> None:
    """Go on from the checkpoint at `step`, in a copy of the run's folder."""
    shutil.copytree(folder, aside)
    for checkpoint in aside.glob("checkpoint-*"):
        if int(checkpoint.name.removeprefix("checkpoint-")) > step:
            shutil.rmtree(checkpoint)
    train({**config, "output_dir": str(aside)}, aside, processes=2, shim="fsdp_on_cpu.py")


SAVED = {"save_strategy": "steps", "save_steps": 10, "auto_resume_from_checkpoints": True}
BATCH = {"micro_batch_size": 4}
# To the proportions on one process, whose sums round otherwise; up to 5e-8 was seen.
TOLERANCE = 1e-6


@pytest.mark.slow
def test_a_mixture_learns_and_resumes_under_fsdp_as_on_one_process(
    tiny: Path, tmp_path: Path
) -> None:
    alone, together, resumed = (tmp_path / name for name in ("alone", "together", "resumed"))
    train(recipe(tiny, alone, gradient_accumulation_steps=4, **BATCH), alone)
    config = recipe(tiny, together, gradient_accumulation_steps=2, **BATCH, **FSDP2, **SAVED)
    train(config, together, processes=2, shim="fsdp_on_cpu.py")
    assert_same_run(together, alone, TOLERANCE)
    resumed_from(together, resumed, config, 10)
    assert_as_if_not_stopped(resumed, together, "model.safetensors")


# With what has a part in it: evaluations between two meta steps, layers that are checkpointed.
BY_PRODUCTS = {
    "adapt": {"learned": {**PRODUCTS, "update_every": 3, "start_after": "5%"}},
    "eval_strategy": "steps",
    "eval_steps": 10,
    "gradient_checkpointing": True,
    **BATCH,
}


def of_evaluations(folder: Path) -> list[list[float]]:
    """The losses of the tasks, an evaluation a line."""
    keys = [f"eval_{task}_loss" for task in TINY_TASKS]
    lines = [[line[key] for key in keys if key in line] for line in log_lines(folder)]
    return [line for line in lines if line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "weights"), [({}, "model.safetensors"), (LORA, "adapter_model.safetensors")]
)
def test_gradient_products_under_fsdp_are_those_of_one_process_also_after_a_kill(
    changes: dict[str, Any], weights: str, tiny: Path, tmp_path: Path
) -> None:
    alone, together, killed = (tmp_path / name for name in ("alone", "together", "killed"))

    def config(folder: Path, accumulation: int, **more: Any) -> dict[str, Any]:
        keys = {**copy.deepcopy(BY_PRODUCTS), **SAVED, **changes, **more}
        return recipe(tiny, folder, gradient_accumulation_steps=accumulation, **keys)

    train(config(alone, 4), alone)
    two: dict[str, Any] = {"processes": 2, "shim": "fsdp_on_cpu.py"}
    train(config(together, 2, **FSDP2), together, **two)
    assert {line["estimator"] for line in history(together)} == {"in_backward"}
    assert_same_run(together, alone, TOLERANCE)
    assert np.array(of_evaluations(together)) == pytest.approx(
        np.array(of_evaluations(alone)), rel=1e-4
    )

    if not changes:  # LoRA's state is of the same kind
        assert train_until(config(killed, 2, **FSDP2), killed, lambda line: " 14/" in line, **two)
        assert not (killed / weights).exists()
        train(config(killed, 2, **FSDP2), killed, **two)
        assert_as_if_not_stopped(killed, together, weights)


@pytest.mark.slow
def test_fsdp1_of_accelerates_own_config_is_refused(tiny: Path, tmp_path: Path) -> None:
    # What `accelerate launch --use_fsdp`, or a saved config of accelerate, puts there.
    environment = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "1",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen3DecoderLayer",
    }
    output = train(
        recipe(tiny, tmp_path),
        tmp_path,
        processes=2,
        shim="fsdp_on_cpu.py",
        environment=environment,
        fails=True,
    )
    assert "accelerate's config, --use_fsdp: this is FSDP1" in output
