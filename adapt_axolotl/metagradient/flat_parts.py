"""Parameters of which processes hold flat parts (DeepSpeed ZeRO-3).

DeepSpeed lays out a parameter's numbers in a row, pads it and gives each process an equal share,
`ds_tensor`. The parameter has its numbers inside its module's own forward and backward only, by
hooks on the module, and is empty beside these. It stays the same plain tensor all the time, so
`torch.autograd.grad` finds its gradient, whole, when the backward has it. DeepSpeed's own account
of gradients hangs on what is added to `.grad`, where nothing arrives then.

Here such parts, and the gradients of such parameters, are flat DTensors. Of a parameter this rests
on `ds_tensor`, `ds_numel`, `ds_shape` and `ds_process_group`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Shard


def is_flat(parameter: Tensor) -> bool:
    """Whether processes hold flat parts of it."""
    return hasattr(parameter, "ds_tensor")


def any_flat(parameters: Iterable[Tensor]) -> bool:
    """Whether processes hold flat parts of any of these."""
    return any(is_flat(parameter) for parameter in parameters)


def whole_shape(parameter: Tensor) -> torch.Size:
    """Of all of its numbers, whichever are here."""
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))


def flat_numbers(parameter: Any) -> Tensor:
    """Those that this process holds, in place: what is written there is written to the parameter,
    as its next forward has it."""
    share: Tensor = parameter.ds_tensor.detach()
    first = torch.distributed.get_rank(parameter.ds_process_group) * share.numel()
    return share[: max(0, min(share.numel(), parameter.ds_numel - first))]


def flat(parameter: Any, numbers: Tensor) -> DTensor:
    """A flat tensor laid out as the parameter.

    Args:
        parameter: of which processes hold flat parts.
        numbers: this process's, as many as `flat_numbers`.
    """
    mesh = _mesh(parameter.ds_process_group, numbers.device.type)
    shape = torch.Size([parameter.ds_numel])
    return DTensor.from_local(numbers, mesh, [Shard(0)], shape=shape, stride=(1,))


def sum_here(parameter: Any, gradient: Tensor) -> Tensor:
    """Of the sum over the processes this process's numbers. All processes.

    Args:
        parameter: of which processes hold flat parts.
        gradient: its whole one, of this process.
    """
    numbers = gradient.detach().flatten()
    mesh = _mesh(parameter.ds_process_group, numbers.device.type)
    terms = DTensor.from_local(numbers, mesh, [Partial()])
    return terms.redistribute(placements=[Shard(0)]).to_local()


@cache
def _mesh(group: Any, device: str) -> DeviceMesh:
    return DeviceMesh.from_group(group, device)
