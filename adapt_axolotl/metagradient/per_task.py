"""The reference estimator: one forward and one backward a task, over its own sequences only. Exact;
the fewer rows of a task a micro-batch holds, the more it costs. K tasks.

Never two backwards through one forward: kernels that save memory, such as Liger's, write their
gradients over what they kept of the forward, and a second backward is wrong without an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.gradients import gradients_of
from adapt_axolotl.metagradient.losses import weighted_loss
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.router_loss import summed_loss
from adapt_axolotl.metagradient.scores import TaskScores
from adapt_axolotl.metagradient.sharded import inner_product, is_sharded, summed
from adapt_axolotl.metagradient.task_batch import TaskBatch


def per_task_scores(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    half_precision: bool = False,
    fused_loss: bool = False,
    reduce: Reduce = single_process,
    as_trained: bool = False,
) -> TaskScores:
    """<v, grad L_k> by one backward for each task in each micro-batch.

    Inner products add up over micro-batches, so no gradient is kept. There are no values of single
    rows, hence no standard errors. Precision is the model's own; `half_precision` changes nothing.
    With `as_trained`, L_k is what the model says of the task's sequences, a loss of its router
    included, which must hold no rows of others.
    """
    device = v[0].device
    totals = torch.zeros(3, num_tasks, dtype=torch.float64, device=device)
    together = is_sharded(parameters)
    for batch in batches:
        tasks = torch.bincount(batch.task_of_row, minlength=num_tasks)
        if together:
            # Sharded parameters are whole where all ranks run a forward, so each runs one for every
            # task that any of them has.
            tasks = reduce(tasks)
        for task in tasks.nonzero().flatten().tolist():
            mine = batch.task_of_row == task
            part = _sequences(batch, mine)
            total = summed_loss(model, part) if as_trained else weighted_loss(model, part, mine)[0]
            gradients = gradients_of(total, parameters)
            products = [
                inner_product(part, gradient)
                for part, gradient in zip(v, gradients, strict=True)
                if gradient is not None
            ]
            # The gradient of sharded parameters is the mean over the ranks, and the same on each:
            # added over the ranks below, it is their sum.
            if products:
                totals[0, task] += summed(products)
            totals[1, task] += batch.tokens_of_rows()[mine].sum()
            totals[2, task] += mine.sum()
    totals = reduce(totals)
    nothing = torch.full((num_tasks,), torch.nan, dtype=torch.float64, device=device)
    return TaskScores(totals[0] / totals[1], nothing, totals[2].long())


def _sequences(batch: TaskBatch, rows: Tensor) -> TaskBatch:
    """Those with any of these rows, (R,) bool; where there is none, one for the forward."""
    if rows.any() or not len(rows):
        return batch.sequences_of(rows) if len(rows) else batch
    first = torch.zeros_like(rows)
    first[0] = True
    return batch.sequences_of(first)


PER_TASK = Estimator(
    name="per_task",
    own_rows=True,
    cost=1.3,
    tolerance=0.0,
    half_precision_tolerance=0.0,
    scores=per_task_scores,
)
