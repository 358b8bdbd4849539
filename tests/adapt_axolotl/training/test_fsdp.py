"""Under FSDP each forward of the model is a collective: all processes must run as many."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch.distributed.fsdp import fully_shard

from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient import supervised_head
from adapt_axolotl.metagradient.ranks import Ranks
from tests.support.launch import PRODUCTS, free_port, history, ledger, recipe, train
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model

# Of a single row one process has none; without one, none has a forward.
COUNTS = (17, 1, 0)


def measure(model: torch.nn.Module, ranks: Ranks) -> list[list[float]]:
    source = make_measuring_rows(3)
    return [
        validation_losses(model, source, np.arange(count), len(TASKS), ranks).tolist()
        for count in COUNTS
    ]


def measure_sharded(rank: int, port: int, folder: str, chunk: int) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=30),
    )
    model = make_model("llama")
    for layer in model.model.layers:
        fully_shard(layer, reshard_after_forward=True)
    fully_shard(model, reshard_after_forward=True)
    supervised_head.CHUNK = chunk
    (Path(folder) / str(rank)).write_text(json.dumps(measure(model, Ranks(rank, 2))))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [supervised_head.CHUNK, 1])
def test_processes_measure_sharded_parameters_in_step(chunk: int, tmp_path: Path) -> None:
    expected = measure(make_model("llama"), Ranks())
    torch.multiprocessing.spawn(measure_sharded, (free_port(), str(tmp_path), chunk), nprocs=2)
    for rank in range(2):
        found = json.loads((tmp_path / str(rank)).read_text())
        assert found == pytest.approx(np.array(expected), rel=1e-6, nan_ok=True)


FSDP2 = {
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "Qwen3DecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
    },
}


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
def test_a_static_mixture_trains_and_resumes_under_fsdp_as_on_one_process(
    tiny: Path, tmp_path: Path
) -> None:
    alone, together, resumed = (tmp_path / name for name in ("alone", "together", "resumed"))
    train(static_recipe(tiny, alone, 4), alone)
    changes = {
        **FSDP2,
        "save_strategy": "steps",
        "save_steps": 2,
        "auto_resume_from_checkpoints": True,
    }
    config = static_recipe(tiny, together, 2, **changes)
    train(config, together, processes=2, shim="fsdp_on_cpu.py")
    assert_same_losses(ledger(together), ledger(alone))

    shutil.copytree(together, resumed)
    for folder in resumed.glob("checkpoint-[3-9]*"):
        shutil.rmtree(folder)
    config = static_recipe(tiny, resumed, 2, **changes)
    train(config, resumed, processes=2, shim="fsdp_on_cpu.py")
    assert ledger(resumed) == ledger(together)
    assert history(resumed) == history(together)


@pytest.mark.slow
def test_a_mixture_learns_under_fsdp_what_it_learns_on_one_process(
    tiny: Path, tmp_path: Path
) -> None:
    """Falls of losses ask for forwards only."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    batch = {"micro_batch_size": 4}
    train(recipe(tiny, alone, gradient_accumulation_steps=4, **batch), alone)
    config = recipe(tiny, together, gradient_accumulation_steps=2, **batch, **FSDP2)
    train(config, together, processes=2, shim="fsdp_on_cpu.py")
    assert ledger(together)["used"] == pytest.approx(ledger(alone)["used"], rel=1e-2)
    for line, other in zip(history(together), history(alone), strict=True):
        assert line["proportions"] == pytest.approx(other["proportions"], rel=1e-3)


@pytest.mark.slow
def test_fsdp_of_accelerates_own_config_is_refused_with_gradient_products(
    tiny: Path, tmp_path: Path
) -> None:
    # What `accelerate launch --use_fsdp`, or a saved config of accelerate, puts there.
    environment = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen3DecoderLayer",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }
    output = train(
        recipe(tiny, tmp_path, adapt={"learned": PRODUCTS}),
        tmp_path,
        processes=2,
        shim="fsdp_on_cpu.py",
        environment=environment,
        fails=True,
    )
    assert "gradient products do not gather FSDP's shards" in output
