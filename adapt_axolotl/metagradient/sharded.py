"""Parameters of which every process holds a part: FSDP2's, and by `flat_parts.py` ZeRO-3's.

A module has its parameters whole inside its own forward and backward only.

Every function here that says "all processes" must be called by all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Partial, Replicate

from adapt_axolotl.metagradient.flat_parts import (
    any_flat,
    flat,
    flat_numbers,
    is_flat,
    whole_shape,
)

# With LoRA v is next to nothing beside the model, and held whole it saves gathering it.
SMALL_SHARE = 0.05

# Numbers that are multiplied at once in an inner product.
NUMBERS_AT_ONCE = 2**24


def is_sharded(tensors: Sequence[Tensor]) -> bool:
    """Whether processes hold parts of any of these."""
    return any(isinstance(tensor, DTensor) or is_flat(tensor) for tensor in tensors)


def held_here(tensor: Tensor) -> Tensor:
    """Its numbers that this process holds, in place."""
    if is_flat(tensor):
        return flat_numbers(tensor)
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


def as_held(parameter: Tensor) -> Tensor:
    """The parameter where it is whole or a DTensor; the flat DTensor of one that is held so."""
    if is_flat(parameter):
        return flat(parameter, flat_numbers(parameter).to(parameter.device))
    return parameter.detach()


def zeros_as_held(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Zeros of which processes hold what they hold of the parameter."""
    return torch.zeros_like(as_held(parameter), dtype=dtype)


def has_shards(model: nn.Module) -> bool:
    """Whether processes hold parts of the model's parameters."""
    fsdp = any(isinstance(module, FSDPModule) for module in model.modules())
    return fsdp or any_flat(model.parameters())


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


def whole(tensor: Tensor, device: torch.device, shape: torch.Size | None = None) -> Tensor:
    """A tensor of which processes hold parts, gathered on a device; any other one as it is. All
    processes.

    Args:
        tensor: to gather.
        device: where it is wanted.
        shape: of the parameter that it belongs to, where it may be flat.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    here = DTensor.from_local(
        tensor.to_local().to(device),
        tensor.device_mesh,
        tensor.placements,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
    gathered = here.full_tensor()
    return gathered if shape is None else gathered.view(shape)


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


@torch.no_grad()
def inner_product(one: Tensor, other: Tensor) -> Tensor:
    """<one, other>, added up in float64; the products themselves need no more than float32. Of
    tensors of which processes hold parts it is such a one too, to be `summed`."""
    if isinstance(one, DTensor) and isinstance(other, DTensor):
        here = inner_product(one.to_local(), other.to_local())
        summands = [Partial() if axis.is_shard() else Replicate() for axis in one.placements]
        return DTensor.from_local(here, one.device_mesh, summands, run_check=False)
    wide = torch.float64 if other.dtype == torch.float64 else torch.float32
    total = torch.zeros((), dtype=torch.float64, device=other.device)
    # In chunks: a wider copy of a vocabulary's weights would be the largest tensor of a meta step.
    chunks = zip(
        one.reshape(-1).split(NUMBERS_AT_ONCE),
        other.reshape(-1).split(NUMBERS_AT_ONCE),
        strict=True,
    )
    for part, of_other in chunks:
        total += (part.to(wide) * of_other.to(wide)).sum(dtype=torch.float64)
    return total


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


def whole_where_small(
    v: Sequence[Tensor], parameters: Sequence[nn.Parameter], model: nn.Module
) -> list[Tensor]:
    """v of these parameters, with those parts made whole that need next to no memory: norms and
    biases, and everything where few of the model's parameters are trained. All processes."""
    if not is_sharded(v):
        return list(v)
    every = sum(whole_shape(parameter).numel() for parameter in model.parameters())
    few = sum(part.numel() for part in v) <= SMALL_SHARE * every
    shapes = [whole_shape(parameter) for parameter in parameters]
    return [
        whole(part, part.device, shape) if few or len(shape) <= 1 else part
        for part, shape in zip(v, shapes, strict=True)
    ]
