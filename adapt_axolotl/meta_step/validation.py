"""Validation losses of the tasks. K tasks."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from torch import nn

from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.ranks import Ranks

LOG = logging.getLogger("axolotl.adapt.meta_step")


def warn_of_unusable(tasks: Sequence[str], losses: np.ndarray, unusable: np.ndarray) -> None:
    """A warning for each task whose loss a meta step cannot use; losses and unusable: (K,)."""
    for task in np.flatnonzero(unusable):
        LOG.warning(
            f"task {tasks[task]!r}: its validation loss is {losses[task]}; it is left out of this "
            "meta step, training goes on"
        )


def validation_losses(
    model: nn.Module, source: MeasuringRows, rows: np.ndarray, num_tasks: int, ranks: Ranks
) -> np.ndarray:
    """Mean loss per supervised token of each task over these rows, (K,); NaN without rows. The
    model should be in evaluation mode."""
    batches = source.batches(rows, rank=ranks.rank, ranks=ranks.count)
    losses = task_losses(model, batches, num_tasks, reduce=ranks.sum)
    return losses.means.cpu().numpy()
