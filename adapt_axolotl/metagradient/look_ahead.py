"""The inner step: theta' = theta - eta sum_k p_k grad L_k(theta), and back.

With it v is taken where the paper takes it; without it, at theta, which agrees to a cosine of .95
to .999 for the small steps of fine-tuning and saves a backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.sharded import held_here, reshard
from adapt_axolotl.metagradient.task_batch import TaskBatch


@contextlib.contextmanager
def look_ahead(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    proportions: Tensor,
    learning_rate: float,
    *,
    float16: bool = False,
    reduce: Reduce = single_process,
) -> Iterator[None]:
    """The model at theta' inside the block, bit-equal to before after it.

    Args:
        model: gives logits.
        parameters: the trained ones; moved in place.
        batches: this rank's training rows.
        proportions: (K,) p.
        learning_rate: eta.
        float16: as `direction`.
        reduce: adds over the ranks.
    """
    step = direction(model, parameters, batches, proportions, float16=float16, reduce=reduce).v
    with restored_afterwards(parameters):
        with torch.no_grad():
            for parameter, part in zip(parameters, step, strict=True):
                here = held_here(parameter)
                here.sub_(held_here(part).to(here.device), alpha=learning_rate)
        try:
            yield
        finally:
            reshard(model)  # whole ones of these weights would serve the next forward too


@contextlib.contextmanager
def restored_afterwards(parameters: Sequence[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Gives copies of what this process holds of the parameters and puts them back: restoring by
    arithmetic would drift."""
    copies = [held_here(parameter).clone() for parameter in parameters]
    try:
        yield copies
    finally:
        with torch.no_grad():
            for parameter, copy in zip(parameters, copies, strict=True):
                held_here(parameter).copy_(copy)
