"""Whether a training loss is the sum over the step's tokens that Trainer takes it for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from adapt_axolotl.metagradient.ranks import Ranks


def divides_by_given_count(loss_of: Callable[[int], Tensor], ranks: Ranks) -> bool | None:
    """Trainer gives `num_items_in_batch` to every model whose forward takes any keywords, but
    several (Mamba, FalconMamba, xLSTM and others) give the mean over the micro-batch in any case.
    So it is measured: a sum over tokens nearly vanishes where the count is a thousand times as
    large. What else a loss contains, such as a router's, does not change with the count, and may be
    most of it.

    Args:
        loss_of: the scalar loss of one micro-batch, where the count is given so many times.
        ranks: the processes, which all ask at once.

    Returns:
        The same on all of them; None if no process has a loss that would tell.
    """
    losses = torch.stack([loss_of(1), loss_of(1000)]).float()
    once, less = ranks.sum(losses.nan_to_num(0.0, 0.0, 0.0)).tolist()
    # Kernels that add in any order differ by less than a hundredth from one forward to the next.
    return None if once == 0 else once - less > 0.01 * once
