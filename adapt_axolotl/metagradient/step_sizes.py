"""How far an optimizer moves each parameter for a gradient of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ADAM = ("exp_avg_sq", "step")


def adam_step_sizes(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """For each parameter lr / (sqrt(v / (1 - beta2^t)) + eps), of its shape: what Adam (Kingma and
    Ba, 2015) moves it by for a gradient of 1, spread over the next steps by its momentum. The
    second moments v are taken as they are: that a gradient changes them too is left out, and so
    are weight decay and clipping.

    Args:
        optimizer: of Adam's kind, with its state.
        parameters: the trained ones.

    Raises:
        ValueError: it keeps no second moments of some parameter.
    """
    settings = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    sizes = []
    for parameter in parameters:
        group, state = settings.get(id(parameter)), optimizer.state.get(parameter, {})
        if group is None or any(name not in state for name in ADAM) or "betas" not in group:
            raise ValueError(
                f"{type(optimizer).__name__} keeps no second moments of each parameter "
                f"({', '.join(ADAM)}), which say how far a gradient moves it; effects are told of "
                "runs with optimizer: adamw_torch or adamw_torch_fused"
            )
        moments = state["exp_avg_sq"]
        if moments.shape != parameter.shape:
            raise ValueError(
                f"{type(optimizer).__name__}: its second moments {tuple(moments.shape)} are not of "
                f"the shape of their parameter {tuple(parameter.shape)}; effects are told of runs "
                "with optimizer: adamw_torch or adamw_torch_fused"
            )
        unbiased = moments / (1 - group["betas"][1] ** float(state["step"]))
        wide = torch.promote_types(parameter.dtype, torch.float32)
        sizes.append(float(group["lr"]) / (unbiased.to(wide).sqrt() + group["eps"]))
    return sizes
