"""Products of the gradients of groups of rows: how far a step on some lowers the loss of others.

Rows of each task, and of each target, are dealt into groups, so that the products of single groups
tell how much of a product is chance. Dimensions: J targets in A groups each, K tasks in B groups
each, P numbers of a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.gradients import gradients_of
from adapt_axolotl.metagradient.losses import weighted_loss
from adapt_axolotl.metagradient.task_batch import TaskBatch

Group = Iterable[TaskBatch]
"""The rows of one group; read once."""


@dataclass(frozen=True)
class GroupProducts:
    """What one pass over all groups gives.

    Attributes:
        products: (J, A, K, B) float64, <g, D h> with g and h the gradients of the summed token
            losses of a group of the target and of the task, D the step sizes.
        target_tokens: (J, A) float64, supervised tokens of each group.
        task_tokens: (K, B) float64.
    """

    products: Tensor
    target_tokens: Tensor
    task_tokens: Tensor


def group_products(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    step_sizes: Sequence[Tensor],
    targets: Sequence[Sequence[Group]],
    tasks: Sequence[Sequence[Group]],
) -> GroupProducts:
    """One backward a micro-batch. The gradients of all groups of the targets are held at once, J A
    times the trained parameters in float32 (float64 for a float64 model). The parameters and their
    `.grad` are not touched.

    Args:
        model: gives logits; in evaluation mode, whole on this process.
        parameters: the trained ones.
        step_sizes: D, for each parameter a tensor of its shape.
        targets: J x A.
        tasks: K x B.
    """
    device = parameters[0].device
    held = [
        torch.zeros(len(targets), len(targets[0]), part.numel(), dtype=part.dtype, device=device)
        for part in step_sizes
    ]
    target_tokens = torch.zeros(len(targets), len(targets[0]), dtype=torch.float64)
    for target, groups in enumerate(targets):
        for number, group in enumerate(groups):
            gradient, tokens = _gradient(model, parameters, group)
            target_tokens[target, number] = tokens
            for part, size, found in zip(held, step_sizes, gradient, strict=True):
                part[target, number] = (size * found).flatten()
    task_tokens = torch.zeros(len(tasks), len(tasks[0]), dtype=torch.float64)
    products = torch.zeros(*target_tokens.shape, *task_tokens.shape, dtype=torch.float64)
    for task, groups in enumerate(tasks):
        for number, group in enumerate(groups):
            gradient, tokens = _gradient(model, parameters, group)
            task_tokens[task, number] = tokens
            for part, found in zip(held, gradient, strict=True):
                products[:, :, task, number] += (part @ found.flatten()).cpu().double()
    return GroupProducts(products, target_tokens, task_tokens)


def _gradient(
    model: nn.Module, parameters: Sequence[nn.Parameter], group: Group
) -> tuple[list[Tensor], int]:
    """(of the summed token losses of a group, how many tokens these are)."""
    total = [
        torch.zeros_like(one, dtype=torch.promote_types(one.dtype, torch.float32))
        for one in parameters
    ]
    count = 0
    for batch in group:
        loss, _ = weighted_loss(model, batch, torch.ones_like(batch.task_of_row))
        count += int(batch.tokens_of_rows().sum())
        for part, gradient in zip(total, gradients_of(loss, parameters), strict=True):
            if gradient is not None:
                part.add_(gradient)
    return total, count
