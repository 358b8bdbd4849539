"""Measure the model that is being trained without a trace on its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from adapt_axolotl.integration.compat import GradientCheckpointingLayer
from adapt_axolotl.metagradient.random_streams import random_streams_kept


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without dropout; the modules' modes and the random streams come back.

    Layers that are checkpointed in training are so here too: without that, a backward would keep
    activations that training has no room for. It is torch's non-reentrant kind in any case, because
    the other one cannot be differentiated by `torch.autograd.grad`.
    """
    modes = [(module, module.training) for module in model.modules()]
    checkpointed: list[Any] = [module for module in model.modules() if _checkpointed(module)]
    functions = [layer._gradient_checkpointing_func for layer in checkpointed]
    model.eval()
    for layer in checkpointed:
        # Of the layer alone: the modules in it, which drop out, stay in evaluation mode.
        layer.training = True
        layer._gradient_checkpointing_func = partial(
            checkpoint, use_reentrant=False, preserve_rng_state=False
        )
    try:
        with random_streams_kept(model.parameters()):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, function in zip(checkpointed, functions, strict=True):
            layer._gradient_checkpointing_func = function


def _checkpointed(module: nn.Module) -> bool:
    """Whether it is a layer that is checkpointed, and has no dropout of its own that training mode
    would turn on."""
    if not (isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing):
        return False
    return not any(
        "dropout" in name and isinstance(value, float) and value > 0
        for name, value in vars(module).items()
    )
