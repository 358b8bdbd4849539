"""Modules without a formula: their own backward, once more for each row.

Experts, routers, adapters of experts' weights and layers that quantise as they go act on every
token by itself, but are not affine in their parameters; Mamba, linear attention and short
convolutions act on every row by itself. The gradient b of their output is there, so the share of a
row is <v's part, gradient of (b . f(x))> over the tokens of that row alone: a forward and a
backward of the one module, over all rows as much work as it was in training. It asks nothing of the
kernels inside, only that the module can be differentiated.

Where a model lets packed rows into each other, because its convolution or state goes on from one to
the next, a row alone is not quite what it was in training.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adapt_axolotl.metagradient.random_streams import random_streams_kept

# Of Transformers and PEFT, whose families have a class of their own each.
_TOKEN_BY_TOKEN = ("Experts", "Router", "ParamWrapper")
# Of these the parameters of the modules inside are read with their own: kernels take them together.
_ROW_BY_ROW = ("ShortConv", "GatedDeltaNet", "MambaLayer", "Mixer")

_CACHES = ("cache_params", "past_key_values")


def acts_on_rows(module: nn.Module) -> bool:
    """Whether the output at a row depends on its input there alone, and there is no formula."""
    if isinstance(module, nn.Linear):
        return type(module).forward is not nn.Linear.forward
    if mixes_tokens(module):  # another forward would drop other numbers than that of training
        return not any(isinstance(one, nn.Dropout) and one.p > 0 for one in module.modules())
    return type(module).__name__.endswith(_TOKEN_BY_TOKEN)


def mixes_tokens(module: nn.Module) -> bool:
    """Whether it has a convolution or a state over the tokens of a row."""
    return type(module).__name__.endswith(_ROW_BY_ROW)


class Call:
    """One call of a module: its arguments, tensors apart from the rest, and its autocast.

    Args:
        args: by place.
        kwargs: by name.
    """

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        # A cache that this call has filled would make another go on where it ended.
        kwargs = {name: None if name in _CACHES else one for name, one in kwargs.items()}
        every = [*args, *kwargs.values()]
        self.tensors = [one for one in every if isinstance(one, Tensor)]
        self._others = [None if isinstance(one, Tensor) else one for one in every]
        self._is_tensor = [isinstance(one, Tensor) for one in every]
        self._names = list(kwargs)
        device = self.tensors[0].device.type if self.tensors else "cpu"
        self._autocast: Callable[[], contextlib.AbstractContextManager[Any]] = (
            contextlib.nullcontext
        )
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            self._autocast = lambda: torch.autocast(device, dtype=dtype, cache_enabled=False)

    def again(self, forward: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
        """The same call with other tensors."""
        left = iter(tensors)
        every = [
            next(left) if is_tensor else other
            for is_tensor, other in zip(self._is_tensor, self._others, strict=True)
        ]
        places = len(every) - len(self._names)
        with self._autocast():
            return forward(*every[:places], **dict(zip(self._names, every[places:], strict=True)))


def differentiable(output: Any) -> list[Tensor]:
    """Of what a module gave, the tensors that have a gradient."""
    every = output if isinstance(output, tuple | list) else (output,)
    return [one for one in every if isinstance(one, Tensor) and one.requires_grad]


def shares_of_rows(
    module: nn.Module,
    parts: Mapping[str, Tensor],
    call: Call,
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    row_of_token: Tensor,
) -> Tensor | None:
    """(B, T), the share of each row at its first token; None where an argument has no axis of
    tokens, or a weight is not whole.

    Args:
        module: called. Where FSDP2 shards it, this is within its backward, where it is whole.
        parts: the whole parts of v of its trained parameters, by name.
        call: how it was called.
        inputs: the tensors that it was called with.
        gradients: of `differentiable` of its output.
        row_of_token: (B, T), -1 beside rows.
    """
    if not all(_has_tokens(one, row_of_token) for one in (*inputs, *gradients)):
        return None
    if any(isinstance(one, DTensor) or hasattr(one, "ds_id") for one in module.parameters()):
        return None  # DeepSpeed has it whole, if at all, as another tensor
    parameters = [module.get_parameter(name) for name in parts]
    shares = torch.zeros(row_of_token.shape, dtype=torch.float32, device=row_of_token.device)
    if any(gradient.dtype == torch.float64 for gradient in gradients):
        shares = shares.double()
    for row in torch.unique(row_of_token[row_of_token >= 0]):
        of_row = row_of_token == row
        # Routers may draw; the numbers that training draws stay the same.
        with torch.enable_grad(), random_streams_kept([shares]):
            own = [_of_row(one.detach(), of_row) for one in inputs]
            outputs = differentiable(call.again(module.forward, own))
            found = torch.autograd.grad(
                outputs,
                parameters,
                [
                    _of_row(one, of_row).view_as(out)
                    for one, out in zip(gradients, outputs, strict=True)
                ],
                allow_unused=True,
            )
        first = of_row.flatten().nonzero()[0]
        for gradient, part in zip(found, parts.values(), strict=True):
            if gradient is not None:
                shares.view(-1)[first] += (gradient.to(shares.dtype) * part.to(shares.dtype)).sum()
    return shares


def _has_tokens(values: Tensor, row_of_token: Tensor) -> bool:
    shape = row_of_token.shape
    return (
        values.shape[:2] == shape
        or (values.ndim == 3 and values.shape[1:] == shape)
        or (values.ndim > 0 and values.shape[0] == row_of_token.numel())
    )


def _of_row(values: Tensor, of_row: Tensor) -> Tensor:
    """(1, n, ...) of (B, T, ...), (A, 1, n) of positions along A axes, (A, B, T), or (n, ...) of
    (B T, ...)."""
    if values.shape[:2] == of_row.shape:
        return values[of_row][None]
    if values.ndim == 3 and values.shape[1:] == of_row.shape:
        return values[:, None, of_row]
    return values[of_row.flatten()]
