"""The direction v: the gradient of the meta objective through the validation losses.

    v = D sum_k w_k grad V_k(theta)

One backward over each micro-batch, whatever K. P parameters, K tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.losses import row_losses, tokens_of_tasks
from adapt_axolotl.metagradient.task_batch import Reduce, TaskBatch, alone


def direction(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    task_weights: Tensor,
    *,
    reduce: Reduce = alone,
    preconditioner: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """v, a tensor for each parameter, equal on every rank.

    The parameters' `.grad` is not touched.

    Args:
        model: gives logits.
        parameters: the trained ones.
        batches: this rank's validation rows.
        task_weights: (K,) w; a task with rows but no weight costs a forward for nothing.
        reduce: adds over the ranks.
        preconditioner: D, a diagonal in the shape of each parameter; None is the identity.
    """
    tokens = tokens_of_tasks(batches, len(task_weights), parameters[0].device, reduce)
    # A task without tokens has no V_k; its weight must not turn the rest into NaN.
    per_token = torch.where(tokens > 0, task_weights.to(tokens) / tokens.clamp(min=1), 0.0)
    v = [torch.zeros_like(parameter) for parameter in parameters]
    for batch in batches:
        sums, _ = row_losses(model, batch)
        total = (sums * per_token[batch.task_of_row].to(sums)).sum()
        gradients = torch.autograd.grad(total, list(parameters), allow_unused=True)
        for part, gradient in zip(v, gradients, strict=True):
            if gradient is not None:
                part += gradient
    for number, part in enumerate(v):
        v[number] = reduce(part)
        if preconditioner is not None:
            v[number] = v[number] * preconditioner[number]
    return v
