"""Small models sharded by FSDP2 with the modules that Axolotl makes units of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.distributed.fsdp import fully_shard
from transformers.modeling_layers import GradientCheckpointingLayer

from adapt_axolotl.metagradient.owners import PARAM_WRAPPER


def shard(
    model: nn.Module,
    reshard_after_forward: bool = True,
    also: Sequence[nn.Module] = (),
    **options: Any,
) -> None:
    """Over the processes of the run: adapters of linear layers, layers and the whole are modules of
    their own, inner ones first.

    Args:
        model: to shard, in place.
        reshard_after_forward: modules give up their whole parameters after a forward.
        also: other modules of their own.
        options: of `fully_shard`.
    """
    of_experts = {
        id(inner)
        for module in model.modules()
        if type(module).__name__ == PARAM_WRAPPER
        for inner in module.modules()
    }
    for name, module in reversed([*model.named_modules()]):
        adapter = ".lora_" in name and isinstance(module, nn.Linear)
        alone = (adapter and id(module) not in of_experts) or module is model or module in also
        if alone or isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, reshard_after_forward=reshard_after_forward, **options)
