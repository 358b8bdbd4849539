"""Parameters of which every process holds a part (FSDP2).

A module has its parameters whole inside its own forward and backward only. Beside these they are
DTensors, of which `torch.autograd.grad` finds no gradient and on which no hook fires. So gradients
are taken by `.backward()`, which leaves them in `.grad`: the mean over the processes, each holding
its part. What training has gathered there is put aside and comes back.

Every function here that says "all processes" must be called by all of them at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

# With LoRA v is next to nothing beside the model, and held whole it saves gathering it.
SMALL_SHARE = 0.05


def is_sharded(tensors: Sequence[Tensor]) -> bool:
    """Whether processes hold parts of any of these."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def held_here(tensor: Tensor) -> Tensor:
    """Its numbers that this process holds."""
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


def has_shards(model: nn.Module) -> bool:
    """Whether FSDP2 shards the model or any module in it."""
    return any(isinstance(module, FSDPModule) for module in model.modules())


def reshard(model: nn.Module) -> None:
    """Drop the whole parameters that a forward has left behind: they would outlive a change of the
    parts. Nothing where nothing is sharded."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained, as an optimizer has them. To be asked for anew each time:
    sharding replaces those that a model was loaded with."""
    reshard(model)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@contextlib.contextmanager
def gradients_aside(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within it the parameters have no `.grad`; what they had comes back."""
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


def gradients_of(total: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of a scalar; the parameters' `.grad` is not touched.

    Args:
        total: what to differentiate.
        parameters: where these are sharded, all processes.

    Returns:
        For each parameter its gradient, or None where `total` does not depend on it; of a sharded
        one the mean over the processes.
    """
    if not is_sharded(parameters):
        return list(torch.autograd.grad(total, list(parameters), allow_unused=True))
    with gradients_aside(parameters):
        total.backward()
        found = [parameter.grad for parameter in parameters]
    if not is_sharded([gradient for gradient in found if gradient is not None]):
        raise RuntimeError(
            "a backward left no gradients on sharded parameters: it ran where gradients are "
            "accumulated without being reduced (set_requires_gradient_sync(False))"
        )
    return found


def whole(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of which processes hold parts, gathered on a device; any other one as it is. All
    processes."""
    if not isinstance(tensor, DTensor):
        return tensor
    here = DTensor.from_local(
        tensor.to_local().to(device),
        tensor.device_mesh,
        tensor.placements,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
    return here.full_tensor()


def summed(scalars: Sequence[Tensor]) -> Tensor:
    """The sum of scalars, those of sharded tensors among them, a plain one. All processes."""
    total: Tensor | None = None
    parts: Tensor | None = None
    for scalar in scalars:
        if isinstance(scalar, DTensor):
            parts = scalar if parts is None else parts + scalar
        else:
            total = scalar if total is None else total + scalar
    if isinstance(parts, DTensor):
        total = parts.full_tensor() if total is None else total + parts.full_tensor()
    assert total is not None, "there is nothing to sum"
    return total


def whole_where_small(v: Sequence[Tensor], model: nn.Module) -> list[Tensor]:
    """v with those parts made whole that need next to no memory: norms and biases, and everything
    where few of the model's parameters are trained. All processes."""
    if not is_sharded(v):
        return list(v)
    few = sum(part.numel() for part in v) <= SMALL_SHARE * sum(
        parameter.numel() for parameter in model.parameters()
    )
    return [whole(part, part.device) if few or part.ndim <= 1 else part for part in v]
