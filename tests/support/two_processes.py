"""Run a function on two processes that talk by gloo."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from peft import LoraConfig, get_peft_model

from adapt_axolotl.metagradient.ranks import Ranks
from tests.support.launch import free_port
from tests.support.models import make_model


def in_two_processes(function: Callable[[Ranks], Any], folder: Path) -> list[Any]:
    """What a function of the tests' modules gives on each of two processes. It must be picklable,
    and so must what it gives."""
    torch.multiprocessing.spawn(_run, (free_port(), str(folder), function), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _run(rank: int, port: int, folder: str, function: Callable[[Ranks], Any]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=2,
        # Processes that wait for each other end the test, not the suite.
        timeout=datetime.timedelta(minutes=3),
    )
    torch.save(function(Ranks(rank, 2)), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def make_lora_model(rank: int) -> torch.nn.Module:
    """With adapters that are not at their start, where half of them have no gradient."""
    torch.manual_seed(5)
    config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj", "down_proj"])
    model = get_peft_model(make_model("qwen3"), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model
