"""The model of a finished run as it was at its checkpoints, on one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.integration.compat import (
    PluginManager,
    resolve_dtype,
    setup_model_and_trainer,
)
from adapt_axolotl.integration.recipe_config import PlannedRun
from adapt_axolotl.metagradient.sharded import trained_parameters
from adapt_axolotl.metagradient.step_sizes import adam_step_sizes
from adapt_axolotl.recipe.names import PLUGIN

# What spreads training over processes, continues it or tells others of it.
_OF_TRAINING = ("deepspeed", "fsdp", "fsdp_config", "resume_from_checkpoint")


class CheckpointedModel:
    """Loads the model as its recipe does, then the weights of one checkpoint after another.

    Args:
        planned: the run's recipe, read again.
    """

    def __init__(self, planned: PlannedRun) -> None:
        cfg = planned.config
        for key in _OF_TRAINING:
            cfg[key] = None
        # Else half-written checkpoints would be renamed.
        cfg.auto_resume_from_checkpoints = False
        resolve_dtype(cfg)
        plugin = PluginManager.get_instance().plugins[PLUGIN]
        self._trainer = setup_model_and_trainer(cfg, plugin.load_datasets(cfg))[0]

    @property
    def model(self) -> nn.Module:
        """As it is now."""
        model: nn.Module = self._trainer.model
        return model

    @property
    def device(self) -> torch.device:
        device: torch.device = self._trainer.args.device
        return device

    @property
    def pad_token_id(self) -> int:
        return int(self._trainer.processing_class.pad_token_id or 0)

    def load(self, checkpoint: Path) -> tuple[list[nn.Parameter], list[Tensor]]:
        """Give the model the weights of a checkpoint.

        Returns:
            Its trained parameters, and how far the optimizer moves each of them there for a
            gradient of 1, as `adam_step_sizes`, less what clipping took from gradients about then.

        Raises:
            ValueError: it has no state of an optimizer that can be read, or that tells this.
        """
        file = checkpoint / "optimizer.pt"
        if not file.is_file():
            raise ValueError(
                f"{checkpoint}: no {file.name}, as where FSDP or DeepSpeed sharded the optimizer, "
                "so how far it moves a parameter is not known; effects are told of runs whose "
                "processes each hold the whole model"
            )
        trainer = self._trainer
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.optimizer = None
        optimizer = trainer.create_optimizer()
        optimizer.load_state_dict(torch.load(file, map_location=self.device, weights_only=True))
        parameters = trained_parameters(trainer.model)
        kept = kept_by_clipping(checkpoint, float(trainer.args.max_grad_norm or 0))
        return parameters, [kept * one for one in adam_step_sizes(optimizer, parameters)]


def kept_by_clipping(checkpoint: Path, most: float) -> float:
    """The mean share of the gradient that clipping left, over the norms in the log of the second
    half of the steps up to a checkpoint; 1 where there is none.

    Args:
        checkpoint: its folder.
        most: `max_grad_norm`; 0 for no clipping.
    """
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    lately = [
        float(line["grad_norm"])
        for line in state["log_history"]
        if "grad_norm" in line and line["step"] > state["global_step"] / 2
    ]
    if not most or not lately:
        return 1.0
    return sum(min(1.0, most / norm) if norm > 0 else 1.0 for norm in lately) / len(lately)
