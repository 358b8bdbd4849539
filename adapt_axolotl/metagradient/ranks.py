"""The processes that train together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor over the ranks and gives it back."""


def single_process(tensor: Tensor) -> Tensor:
    """The `Reduce` of a run on one process: nothing to add."""
    return tensor


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; without torch.distributed the only one."""

    rank: int = 0
    count: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor over the ranks, in place; every rank gets the same bits."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it is so on any rank; every rank must ask. `device`: where ranks reduce."""
        return self.sum(torch.tensor(float(here), device=device)).item() > 0

    def agree(self, tensor: Tensor) -> bool:
        """Whether every rank holds the same bits; the same answer on every rank."""
        if self.count == 1:
            return True
        both = torch.stack([tensor, -tensor])
        torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
        return bool((both[0] == -both[1]).all())
