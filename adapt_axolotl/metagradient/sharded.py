"""Parameters of which every process holds a part (FSDP2).

A module has its parameters whole inside its own forward and backward only. Beside these they are
DTensors, of which `torch.autograd.grad` finds no gradient and on which no hook fires. So gradients
are taken by `.backward()`, which leaves them in `.grad`: the mean over the processes, each holding
its part. What training has gathered there is put aside and comes back.

Every function here that says "all processes" must be called by all of them at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed
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


def are_zero(tensors: Sequence[Tensor]) -> list[bool]:
    """Of each whether all of its numbers are 0, on every process. All processes."""
    device = tensors[0].device
    others = torch.stack([held_here(one).any().to(device) for one in tensors]).float()
    if is_sharded(tensors):
        torch.distributed.all_reduce(others)
    return [not one for one in others.tolist()]


def rows_in_turn(
    matrices: Mapping[str, Tensor], count: int, device: torch.device, dtype: torch.dtype | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """The rows of tensors of equal length, of which processes hold parts, `count` at a time: sent
    to all by the process that holds them, so that no more is whole at once. Where all are whole,
    one turn with all rows as they are. All processes.

    Args:
        matrices: each (rows, ...), sharded along the first axis, or whole.
        count: most rows at a time.
        device: where they are wanted.
        dtype: of what is sent; None for that of each.

    Yields:
        The number of the first row, and the rows of each.
    """
    sharded = [one for one in matrices.values() if isinstance(one, DTensor)]
    if not sharded:
        yield 0, dict(matrices)
        return
    mesh, placements, rows = sharded[0].device_mesh, sharded[0].placements, sharded[0].shape[0]
    # With replicas of the model (HSDP) each has the rows in its own part of the mesh.
    (axis,) = (number for number, one in enumerate(placements) if one.is_shard(0))
    each = -(-rows // mesh.size(axis))
    for owner in range(mesh.size(axis)):
        end = min(rows, (owner + 1) * each)
        for first in range(owner * each, end, count):
            last = min(end, first + count)
            turn = {}
            for name, one in matrices.items():
                if not isinstance(one, DTensor):
                    turn[name] = one[first:last]
                    continue
                shape = (last - first, *one.shape[1:])
                sent = torch.empty(shape, dtype=dtype or one.dtype, device=device)
                if mesh.get_local_rank(axis) == owner:
                    sent.copy_(held_here(one)[first - owner * each : last - owner * each])
                torch.distributed.broadcast(sent, group=mesh.get_group(axis), group_src=owner)
                turn[name] = sent
            yield first, turn


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
