"""What in-backward hears inside the real training loop is that loop's gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from axolotl.cli.config import load_cfg
from axolotl.integrations.base import PluginManager
from axolotl.train import setup_model_and_trainer
from transformers import TrainerCallback

from .launch import recipe


class CompareWithGradient(TrainerCallback):
    """At each meta step: the rows' shares, weighted as in the loss, add up to <v, .grad>."""

    def __init__(self, trainer: Any) -> None:
        self.meta = trainer.run.meta
        self.errors: list[float] = []
        self._heard = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.meta.listening:
            return
        self._heard = 0.0
        collect = self.meta._listener.collect

        def recording(loss_weight: float, num_rows: int) -> torch.Tensor:
            products = collect(loss_weight, num_rows)
            self._heard += float(products.sum()) * loss_weight
            return products

        self.meta._listener.collect = recording

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.meta.listening:
            return
        listener = self.meta._listener
        product = sum(
            float((listener._parts[id(p)].double() * p.grad.double()).sum())
            for p in listener._parameters
        )
        self.errors.append(abs(self._heard - product) / abs(product))


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_shares_of_all_rows_add_up_to_the_gradient(
    tiny: Path, tmp_path: Path, packed: bool, checkpointing: bool
) -> None:
    config = recipe(
        tiny,
        tmp_path,
        sample_packing=packed,
        micro_batch_size=2 if packed else 8,
        gradient_accumulation_steps=3,
        gradient_checkpointing=checkpointing,
        max_grad_norm=0.0,  # clipping would scale .grad
        adapt={
            "token_budget": 1500,
            "learned": {"update_every": 2, "start_after": 0, "estimator": "in_backward"},
        },
    )
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump(config))
    cfg = load_cfg(str(file))
    meta_data = PluginManager.get_instance().load_datasets(cfg)
    trainer = setup_model_and_trainer(cfg, meta_data)[0]
    compare = CompareWithGradient(trainer)
    trainer.add_callback(compare)  # after the run's own, so it begins when the hooks are in
    trainer.train()
    assert len(compare.errors) > 2
    assert max(compare.errors) < 1e-4
    assert trainer.run.meta.estimator == "in_backward"
