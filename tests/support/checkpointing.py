"""A plugin for Axolotl that writes down how a run's layers are checkpointed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback
from transformers.modeling_layers import GradientCheckpointingLayer


class CheckpointingPlugin(BasePlugin):
    """Leaves `<output_dir>/checkpointing.json`: forwards of the model that a backward may follow in
    evaluation mode (`measured`), those of its first layer's MLP (`layers_measured`), and each
    layer's `use_reentrant` after the run's last step."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [Watch(trainer)]


class Watch(TrainerCallback):
    def __init__(self, trainer: Any) -> None:
        layers = [
            one for one in trainer.model.modules() if isinstance(one, GradientCheckpointingLayer)
        ]
        mlp: Any = layers[0].mlp
        self._layers: list[Any] = layers
        self._counts = {"measured": 0, "layers_measured": 0}

        def counting(key: str) -> Any:
            def hook(*_: Any) -> None:
                if torch.is_grad_enabled() and not mlp.training:
                    self._counts[key] += 1

            return hook

        trainer.model.register_forward_pre_hook(counting("measured"))
        mlp.register_forward_pre_hook(counting("layers_measured"))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        functions = [layer._gradient_checkpointing_func for layer in self._layers]
        reentrant = [function.keywords["use_reentrant"] for function in functions]
        content = json.dumps({**self._counts, "use_reentrant": reentrant})
        (Path(args.output_dir) / "checkpointing.json").write_text(content)
