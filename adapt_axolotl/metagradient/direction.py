"""The direction v: the gradient of the meta objective through the validation losses.

    v = sum_k w_k grad V_k(theta)

One forward and backward over each micro-batch, whatever K; the losses V_k come with them, so the
weights w must be those of earlier losses.

float16 holds nothing below 6e-8, and a token of the sum above often weighs that little. Where the
model computes in it, what is differentiated is scaled up and v is scaled back in float32, as
training does with its loss. K tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.flat_parts import any_flat, is_flat, sum_here
from adapt_axolotl.metagradient.gradients import gradients_aside, gradients_taken
from adapt_axolotl.metagradient.losses import TaskLosses, tokens_of_tasks, weighted_loss
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.sharded import held_here, is_sharded, zeros_as_held
from adapt_axolotl.metagradient.task_batch import TaskBatch

# Powers of two, so that scaling alone rounds nothing. A lower scale is tried where v is not finite.
LARGEST_SCALE = 2.0**15
LOWER = 2.0**-3


@dataclass(frozen=True)
class Direction:
    """What one pass over validation rows gives, equal on every rank.

    Attributes:
        v: a tensor for each parameter, of its type; float32 for one in float16. Of a sharded one
            each rank has its part, as of the parameter.
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
    float16: bool = False,
    reduce: Reduce = single_process,
) -> Direction:
    """v, and the losses that it is the gradient of. The parameters' `.grad` is not touched.

    Args:
        model: gives logits.
        parameters: the trained ones.
        batches: this rank's validation rows.
        task_weights: (K,) w.
        float16: the model computes in float16 (autocast); told by parameters that are float16 too.
        reduce: adds over the ranks.
    """
    tokens = tokens_of_tasks(batches, len(task_weights), parameters[0].device, reduce)
    # A task without tokens has no V_k; its weight must not turn the rest into NaN.
    per_token = torch.where(tokens > 0, task_weights.to(tokens) / tokens.clamp(min=1), 0.0)
    if not (float16 or any(parameter.dtype == torch.float16 for parameter in parameters)):
        v, sums = _summed(model, parameters, batches, per_token, reduce)
        return Direction(v, TaskLosses(sums / tokens, tokens.long()))
    scale = LARGEST_SCALE
    v, sums = _summed(model, parameters, batches, per_token * scale, reduce)
    # Asked after the reduction, so that all ranks decide alike. A loss that is not finite in itself
    # is no matter of scale.
    while scale > 1 and bool(torch.isfinite(sums).all()) and not _finite(v, reduce):
        del v
        scale *= LOWER
        v, sums = _summed(model, parameters, batches, per_token * scale, reduce)
    for part in v:
        part.div_(scale)
    return Direction(v, TaskLosses(sums / tokens, tokens.long()))


def _summed(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    per_token: Tensor,
    reduce: Reduce,
) -> tuple[list[Tensor], Tensor]:
    """The gradient of sum_k per_token[k] (sum of the token losses of task k), and these sums, (K,)
    float64, over all batches and ranks."""
    totals = torch.zeros_like(per_token)

    def weighted(batch: TaskBatch) -> Tensor:
        total, sums = weighted_loss(model, batch, per_token[batch.task_of_row])
        totals.index_add_(0, batch.task_of_row, sums.double())
        return total

    if is_sharded(parameters) and not any_flat(parameters):
        v = _sharded_sum((weighted(batch) for batch in batches), parameters, reduce)
        return v, reduce(totals)
    v = [zeros_as_held(parameter, _type_of_v(parameter)) for parameter in parameters]

    def add(number: int, gradient: Tensor) -> None:
        if is_flat(parameters[number]):
            # Each process adds up its own numbers at once, so that nothing else is held.
            gradient = sum_here(parameters[number], gradient.to(v[number].dtype))
        held_here(v[number]).add_(gradient)

    with gradients_taken(parameters, add):
        for batch in batches:
            torch.autograd.grad(weighted(batch), list(parameters), allow_unused=True)
    if not is_sharded(v):
        v = [reduce(part) for part in v]
    return v, reduce(totals)


def _sharded_sum(
    totals: Iterable[Tensor], parameters: Sequence[nn.Parameter], reduce: Reduce
) -> list[Tensor]:
    """The gradient of these scalars over all ranks, sharded. Each rank gives as many."""
    with gradients_aside(parameters):
        for total in totals:
            total.backward()  # adds to `.grad`, so that no gradient is held beside v
        gradients = [parameter.grad for parameter in parameters]
    ranks = float(reduce(torch.ones((), device=parameters[0].device)))
    v = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            v.append(torch.zeros_like(parameter, dtype=_type_of_v(parameter)))
        elif is_sharded([gradient]):
            # FSDP has taken the mean over the ranks.
            v.append(gradient.detach().to(_type_of_v(parameter)).mul_(ranks))
        else:
            v.append(reduce(gradient.detach().to(_type_of_v(parameter))))
    return v


def _type_of_v(parameter: Tensor) -> torch.dtype:
    return torch.float32 if parameter.dtype == torch.float16 else parameter.dtype


def _finite(v: Sequence[Tensor], reduce: Reduce) -> bool:
    """Whether all of v is, on every rank."""
    broken = ~torch.stack([torch.isfinite(held_here(part)).all() for part in v]).all()
    return not bool(reduce(broken.float()))
