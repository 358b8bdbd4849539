"""The processes that train together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
