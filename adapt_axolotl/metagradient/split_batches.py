"""Task scores of the training step, by training on the rows of one task at a time.

Each micro-batch of a step that is read is split into one for each task, trained on in turn. Their
gradients add up to that of the micro-batch, and <v, gradient> of each is the task's score. So any
kernel will do, no rows are read beside training's, and the scores are exact; what it costs is that
smaller micro-batches use the hardware less well. K tasks.

Not covered: a loss that is not a sum over rows, such as one that balances experts over a
micro-batch; optimizers that step within the backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.flat_parts import any_flat
from adapt_axolotl.metagradient.gradient_products import GradientProducts
from adapt_axolotl.metagradient.gradients import gradients_aside
from adapt_axolotl.metagradient.losses import weighted_loss
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.rows_apart import rows_apart
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import is_sharded
from adapt_axolotl.metagradient.task_batch import TaskBatch


def split_batches_scores(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    half_precision: bool = False,
    fused_loss: bool = False,
    reduce: Reduce = single_process,
) -> TaskScores:
    """Scores of these batches, which are not the training step's: how the estimator is checked.
    Their standard errors are over the parts of one task. Precision is the model's own.
    """
    together = is_sharded(parameters)
    by_backward = together and not any_flat(parameters)  # as `gradients_of`
    found = GradientProducts(parameters, v)
    products, tokens, tasks = [], [], []
    try:
        for batch in batches:
            present = torch.bincount(batch.task_of_row, minlength=num_tasks)
            for task in (reduce(present) if together else present).nonzero().flatten().tolist():
                mine = batch.task_of_row == task
                part = rows_apart(batch, mine) if mine.any() else batch
                with gradients_aside(parameters) if by_backward else contextlib.nullcontext():
                    found.begin()
                    weights = mine.any().expand_as(part.task_of_row)
                    total, _ = weighted_loss(model, part, weights)
                    if by_backward:
                        total.backward()
                    else:
                        torch.autograd.grad(total, list(parameters), allow_unused=True)
                    products.append(found.collect())
                tokens.append(part.tokens_of_rows().sum() * int(mine.any()))
                tasks.append(task)
    finally:
        found.remove()
    measured = torch.stack([torch.stack(products), torch.stack(tokens).double()])
    of_task = torch.tensor(tasks, device=v[0].device)
    if together:  # the same parts on every process, each with its share of the tokens
        measured, reduce = reduce(measured), single_process
    return scores_from_rows(measured[0], measured[1], of_task, num_tasks, reduce)


SPLIT_BATCHES = Estimator(
    name="split_batches",
    own_rows=False,
    cost=0.35,
    tolerance=1e-3,
    half_precision_tolerance=5e-2,
    scores=split_batches_scores,
)
