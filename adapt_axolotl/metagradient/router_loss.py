"""Training losses to which a model with experts adds one that balances them.

    N sum_e f_e P_e,    P_e = mean over the tokens of the router's probability of expert e

f_e, the share of tokens that expert e got, has no gradient (Switch Transformer, equation 4). So
given the micro-batch's f the gradient is a sum over tokens, as that of the token losses is, and the
part of a row is that of its tokens, of the padding beside it too where the model counts it. The
objective's losses are of tokens alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.task_batch import TaskBatch


def has_router_loss(model: nn.Module) -> bool:
    """Whether the model's own loss contains one."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return any(getattr(one, "output_router_logits", False) for one in (config, text))


def summed_loss(model: nn.Module, batch: TaskBatch) -> Tensor:
    """The model's own loss of a micro-batch, times its supervised tokens."""
    loss: Tensor = model(**batch.inputs, labels=batch.labels).loss
    return loss * batch.tokens_of_rows().sum()


def with_padding(row_of_token: Tensor) -> Tensor:
    """(B, T) the row of each token, of padding the one that it is beside; -1 in a sequence without
    rows."""
    filled = row_of_token
    for _ in range(2):  # padding after rows, then that before them
        places = torch.arange(filled.shape[1], device=filled.device).expand_as(filled)
        last = torch.where(filled >= 0, places, -1).cummax(1).values
        filled = torch.where(last >= 0, filled.gather(1, last.clamp(min=0)), -1).flip(1)
    return filled
