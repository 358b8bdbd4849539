"""Validation losses of the tasks. K tasks."""

from __future__ import annotations

import numpy as np
from torch import nn

from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.ranks import Ranks


def validation_losses(
    model: nn.Module, source: MeasuringRows, rows: np.ndarray, num_tasks: int, ranks: Ranks
) -> np.ndarray:
    """Mean loss per supervised token of each task over these rows, (K,); NaN without rows. The
    model should be in evaluation mode."""
    batches = source.batches(rows, rank=ranks.rank, ranks=ranks.count)
    losses = task_losses(model, batches, num_tasks, reduce=ranks.sum)
    return losses.means.cpu().numpy()
