"""Validation losses of the model that is being trained, without a trace on its training.

K tasks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.probe import ProbeRows
from adapt_axolotl.ranks import Ranks


@contextlib.contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without dropout; the modules' modes and the random streams come back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def validation_losses(
    model: nn.Module, source: ProbeRows, rows: np.ndarray, num_tasks: int, ranks: Ranks
) -> np.ndarray:
    """Mean loss per supervised token of each task over these rows, (K,); NaN without rows."""
    batches = source.batches(rows, rank=ranks.rank, ranks=ranks.count)
    with measuring(model):
        losses = task_losses(model, batches, num_tasks, reduce=ranks.sum)
    return losses.means.cpu().numpy()
