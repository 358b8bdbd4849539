"""Validation losses of the tasks, and of single rows. K tasks, R rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.losses import row_losses, task_losses
from adapt_axolotl.metagradient.ranks import Ranks

LOG = logging.getLogger("axolotl.adapt.meta_step")


def warn_of_unusable(tasks: Sequence[str], losses: np.ndarray, unusable: np.ndarray) -> None:
    """A warning for each task whose loss a meta step cannot use; losses and unusable: (K,)."""
    for task in np.flatnonzero(unusable):
        LOG.warning(
            f"task {tasks[task]!r}: its validation loss is {losses[task]}; it is left out of this "
            "meta step, training goes on"
        )


def usable_tasks(
    tasks: Sequence[str], sums: np.ndarray, warned: np.ndarray, rows: str
) -> np.ndarray:
    """(K,) bool, the tasks whose sums are finite; a warning for each other one, once.

    Args:
        tasks: the K names.
        sums: (M, K) over rows of each task.
        warned: (K,) bool, those that were warned of; the others join them.
        rows: what these are, for the message.
    """
    usable: np.ndarray = np.isfinite(sums).all(axis=0)
    for task in np.flatnonzero(~usable & ~warned):
        LOG.warning(
            f"task {tasks[task]!r}: the loss of some of its {rows} is not finite; what it shows "
            "in such steps is left out, training goes on"
        )
    warned |= ~usable
    return usable


def validation_losses(
    model: nn.Module, source: MeasuringRows, rows: np.ndarray, num_tasks: int, ranks: Ranks
) -> np.ndarray:
    """Mean loss per supervised token of each task over these rows, (K,); NaN without rows. The
    model should be in evaluation mode."""
    batches = source.batches(rows, rank=ranks.rank, ranks=ranks.count)
    losses = task_losses(model, batches, num_tasks, reduce=ranks.sum)
    return losses.means.cpu().numpy()


def losses_of_rows(
    model: nn.Module, source: MeasuringRows, measured: np.ndarray, ranks: Ranks
) -> tuple[np.ndarray, Tensor]:
    """(sums of token losses, float64, and how many tokens these are), (R,), of these ascending row
    numbers, by all ranks together. The model should be in evaluation mode."""
    device = next(model.parameters()).device
    found = torch.zeros(2, len(measured), dtype=torch.float64, device=device)
    with torch.no_grad():
        for rows in source.parts(measured, rank=ranks.rank, ranks=ranks.count):
            # A rank without rows takes part in the forward: sharded parameters need it.
            sums, tokens = row_losses(model, source.batch(rows))
            places = np.searchsorted(measured, rows)
            found[0, places] = sums.double()
            found[1, places] = tokens.double()
    found = ranks.sum(found).cpu()
    return found[0].numpy(), found[1].long()
