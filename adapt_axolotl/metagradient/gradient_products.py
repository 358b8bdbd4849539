"""<v, gradient> of a backward, whatever kernels computed it: nothing is kept but a number.

A parameter's hook sees the gradient of this process before it is added to `.grad`, reduced over the
processes or given to an optimizer's shards; the product is taken there. Where ZeRO-3 shards v, the
hook gathers the parameter's part of it. On parameters that FSDP2 shards no hook fires, and their
product is what a backward adds to <v, .grad>.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate

from adapt_axolotl.metagradient.flat_parts import is_flat
from adapt_axolotl.metagradient.sharded import inner_product, whole

Parts = dict[tuple[DeviceMesh, tuple[bool, ...]], Tensor]
"""By mesh, and by which of its dimensions parameters are sharded."""


class GradientProducts:
    """Takes them: `begin` before a backward, `collect` after it.

    Args:
        parameters: the trained ones.
        v: the direction, a tensor for each parameter, sharded as it is.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], v: Sequence[Tensor]) -> None:
        self._sharded: list[tuple[nn.Parameter, DTensor]] = []
        self._handles: list[Any] = []
        self._product: Tensor | None = None
        self._before: Parts = {}
        self._device = parameters[0].device
        for parameter, part in zip(parameters, v, strict=True):
            if isinstance(part, DTensor) and not is_flat(parameter):
                self._sharded.append((parameter, part))
            else:
                self._handles.append(parameter.register_hook(self._hook(part)))

    def begin(self) -> None:
        """Before the forward."""
        self._before = self._held_here()
        self._product = torch.zeros((), dtype=torch.float64, device=self._device)

    def collect(self) -> Tensor:
        """After the backward; where parameters are sharded, on all processes.

        Returns:
            float64; over the processes these add up to <v, gradient of all that they
            differentiated>. That of sharded parameters is the mean over them, the same on each.
        """
        assert self._product is not None, "begin() comes before the forward"
        product, self._product = self._product, None
        for (mesh, sharded), after in self._held_here().items():
            product = product + _whole(after - self._before[mesh, sharded], mesh, sharded)
        return product

    def remove(self) -> None:
        """Remove the hooks and let go of v."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._sharded = [], []

    def _hook(self, part: Tensor) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            if self._product is not None:
                found = inner_product(whole(part, gradient.device, gradient.shape), gradient)
                self._product = self._product + found

        return hook

    def _held_here(self) -> Parts:
        """The part of <v, .grad> that this process holds, by how parameters are sharded."""
        totals: Parts = {}
        for parameter, part in self._sharded:
            kind = (part.device_mesh, tuple(one.is_shard() for one in part.placements))
            total = totals.get(kind, torch.zeros((), dtype=torch.float64, device=self._device))
            gradient = parameter.grad
            if gradient is not None:
                assert isinstance(gradient, DTensor)
                total = total + inner_product(part.to_local(), gradient.to_local())
            totals[kind] = total
        return totals


def _whole(held: Tensor, mesh: DeviceMesh, sharded: Sequence[bool]) -> Tensor:
    """The sum over the processes that hold a part of it."""
    placements = [Partial() if one else Replicate() for one in sharded]
    return DTensor.from_local(held, mesh, placements, run_check=False).full_tensor()
