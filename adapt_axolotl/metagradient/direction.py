"""The direction v: the gradient of the meta objective through the validation losses.

    v = sum_k w_k grad V_k(theta)

One forward and backward over each micro-batch, whatever K; the losses V_k come with them, so the
weights w must be those of earlier losses. K tasks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.losses import TaskLosses, row_losses, tokens_of_tasks
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.task_batch import TaskBatch


@dataclass(frozen=True)
class Direction:
    """What one pass over validation rows gives, equal on every rank.

    Attributes:
        v: a tensor for each parameter.
        losses: V_k of the tasks in the rows.
    """

    v: list[Tensor]
    losses: TaskLosses


def direction(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    task_weights: Tensor,
    *,
    reduce: Reduce = single_process,
) -> Direction:
    """v, and the losses that it is the gradient of. The parameters' `.grad` is not touched.

    Args:
        model: gives logits.
        parameters: the trained ones.
        batches: this rank's validation rows.
        task_weights: (K,) w.
        reduce: adds over the ranks.
    """
    tokens = tokens_of_tasks(batches, len(task_weights), parameters[0].device, reduce)
    # A task without tokens has no V_k; its weight must not turn the rest into NaN.
    per_token = torch.where(tokens > 0, task_weights.to(tokens) / tokens.clamp(min=1), 0.0)
    v = [torch.zeros_like(parameter) for parameter in parameters]
    totals = torch.zeros(len(task_weights), dtype=torch.float64, device=tokens.device)
    with gradients_added_to(v, parameters):
        for batch in batches:
            sums, _ = row_losses(model, batch)
            totals.index_add_(0, batch.task_of_row, sums.detach().double())
            total = (sums * per_token[batch.task_of_row].to(sums)).sum()
            torch.autograd.grad(total, list(parameters), allow_unused=True)
    for number, part in enumerate(v):
        v[number] = reduce(part)
    return Direction(v, TaskLosses(reduce(totals) / tokens, tokens.long()))


@contextlib.contextmanager
def gradients_added_to(v: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Each gradient goes into v as soon as the backward has it, and what `torch.autograd.grad`
    gives are zeros without memory: to hold all gradients beside v would cost the parameters' size
    once more."""

    def keep(part: Tensor) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            part.add_(gradient)
            return gradient.new_zeros(()).expand_as(gradient)

        return hook

    handles = [
        parameter.register_hook(keep(part)) for part, parameter in zip(v, parameters, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
