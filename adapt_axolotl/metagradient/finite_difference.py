"""Two forwards at theta +- a small step along v: cheap, flat in K, works with any kernel.

Truncation and rounding leave an error of 1e-5 to 1e-3 in float32 and of a few per cent in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.look_ahead import restored_afterwards
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import as_held, held_here, inner_product, reshard, summed
from adapt_axolotl.metagradient.task_batch import TaskBatch


@torch.no_grad()
def finite_difference_scores(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    epsilon: float | None = None,
    half_precision: bool = False,
    fused_loss: bool = False,
    reduce: Reduce = single_process,
) -> TaskScores:
    """Central differences of every row's loss along v.

    Args:
        epsilon: length of the step as a share of the length of theta; by default 1e-4, and 1e-3
            where the model computes in 16 bits, which cannot resolve the smaller one.
    """
    epsilon = epsilon or (1e-3 if half_precision else 1e-4)
    length = norm(v)
    if length == 0 or not batches:
        # Nothing points anywhere; but every rank must take part in the reduction below.
        products = [torch.zeros(len(b.task_of_row), dtype=torch.float64) for b in batches]
    else:
        step = epsilon * norm(parameters)
        with restored_afterwards(parameters) as copies:
            ahead = _losses_at(model, parameters, copies, v, step / length, batches)
            behind = _losses_at(model, parameters, copies, v, -step / length, batches)
        products = [
            (plus - minus) * (length / (2 * step))
            for plus, minus in zip(ahead, behind, strict=True)
        ]
    device = v[0].device
    tokens = [batch.tokens_of_rows() for batch in batches]
    tasks = [batch.task_of_row for batch in batches]
    empty = torch.zeros(0, dtype=torch.int64, device=device)
    return scores_from_rows(
        torch.cat([empty.double(), *(part.to(device) for part in products)]),
        torch.cat([empty, *tokens]),
        torch.cat([empty, *tasks]),
        num_tasks,
        reduce,
    )


def _losses_at(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    copies: Sequence[Tensor],
    v: Sequence[Tensor],
    scale: float,
    batches: Sequence[TaskBatch],
) -> list[Tensor]:
    """(R,) float64 row losses of each batch at copies + scale v."""
    for parameter, copy, part in zip(parameters, copies, v, strict=True):
        here = held_here(parameter)
        # In place: the largest is a vocabulary's.
        here.copy_(copy).add_(held_here(part).to(here.device), alpha=scale)
    try:
        return [row_losses(model, batch)[0].double() for batch in batches]
    finally:
        reshard(model)  # whole ones of these weights would serve the next forward too


def norm(tensors: Sequence[Tensor]) -> float:
    """Euclidean length over all tensors together; where processes hold parts of them, all of these
    at once."""
    held = [as_held(tensor) for tensor in tensors]
    return float(summed([inner_product(one, one) for one in held]).sqrt())


FINITE_DIFFERENCE = Estimator(
    name="finite_difference",
    own_rows=True,
    cost=0.7,
    tolerance=0.25,
    half_precision_tolerance=0.25,
    scores=finite_difference_scores,
)
