"""The loss of an evaluation, without the logits of all its tokens where the model can do so."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

# With labels, Liger's forward makes no logits in training but all of them in evaluation, unless
# this argument is true. Trainer sets it where `use_liger_kernel` put Liger in; Axolotl's plugin,
# which patches the model itself, leaves that unset.
SKIP_LOGITS = "skip_logits"


def without_logits(model: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """What to evaluate the model on where only its own loss is wanted.

    Args:
        model: without what accelerate wraps it in; adapters may be around it.
        inputs: of a batch.
    """
    base = getattr(model, "get_base_model", lambda: model)()
    if "labels" in inputs and SKIP_LOGITS in inspect.signature(base.forward).parameters:
        return {**inputs, SKIP_LOGITS: True}
    return inputs
