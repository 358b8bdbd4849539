"""Losses of rows and of tasks: token cross-entropy, as the model is trained on.

Dimensions: B sequences, T tokens, R rows, N supervised tokens, K tasks, V vocabulary, H features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapt_axolotl.metagradient.head_in_chunks import wide
from adapt_axolotl.metagradient.head_loss import (
    head_losses,
    losses_written_over,
    tokens_at_once,
)
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.supervised_head import (
    supervised_token_losses,
    weighted_token_losses,
)
from adapt_axolotl.metagradient.task_batch import TaskBatch


def row_losses(
    model: nn.Module, batch: TaskBatch, *, whole_logits: bool = False
) -> tuple[Tensor, Tensor]:
    """One forward.

    Args:
        model: gives logits.
        batch: the rows.
        whole_logits: apply the head to every position, as training does, and keep what a backward
            needs. Otherwise it sees supervised positions only, in chunks where they are many, and
            there is no backward (`weighted_loss` has one): (N, V) or less instead of (B, T, V).

    Returns:
        (R,) sum of each row's token losses, float32 (float64 for a float64 model), and
        (R,) int64 how many tokens that sum is over.
    """
    if whole_logits:
        learned = batch.learned()
        logits = model(**batch.inputs).logits[:, :-1][learned]
        losses = cross_entropy(wide(logits), batch.labels[:, 1:][learned], reduction="none")
    else:
        losses = supervised_token_losses(model, batch)
    return _sums(losses, batch), batch.tokens_of_rows()


def weighted_loss(
    model: nn.Module, batch: TaskBatch, weights: Tensor, *, whole_logits: bool = False
) -> tuple[Tensor, Tensor]:
    """One forward, for one backward.

    Args:
        model: gives logits.
        batch: the rows.
        weights: (R,) of each row's sum of token losses.
        whole_logits: apply the head to every position, as training does.

    Returns:
        () the weighted sum, and
        (R,) the sums as `row_losses` gives them, which have no gradient.
    """
    rows = batch.row_of_token[:, 1:][batch.learned()]
    total, losses = weighted_token_losses(model, batch, weights[rows], whole_logits=whole_logits)
    return total, _sums(losses, batch)


def _sums(losses: Tensor, batch: TaskBatch) -> Tensor:
    """(R,) of the (N,) losses of supervised tokens."""
    rows = batch.row_of_token[:, 1:][batch.learned()]
    return losses.new_zeros(len(batch.task_of_row)).index_add(0, rows, losses)


@torch.no_grad()
def row_losses_of(states: Tensor, batch: TaskBatch, head: Any = None) -> tuple[Tensor, Tensor]:
    """As `row_losses`, of what a forward has made anyway; float32.

    Args:
        states: (B, T, V) logits, or (B, T, H) what the head makes them of.
        batch: the rows; its inputs are not read.
        head: the module that makes logits of `states`; it sees supervised positions, in chunks.
    """
    sequences, positions = batch.learned().nonzero(as_tuple=True)
    labels = batch.labels[sequences, positions + 1]
    if head is not None:
        seen = states[sequences, positions].to(head.weight.dtype)
        losses = head_losses(head, AS_THEY_ARE, seen, labels)
    else:
        losses = torch.zeros(len(labels), device=states.device)
        every = torch.arange(len(labels), device=states.device)
        for part in every.split(tokens_at_once(states.shape[-1])):
            logits = states[sequences[part], positions[part]]
            losses[part], _ = losses_written_over(logits.float(), labels[part])
    rows = batch.row_of_token[sequences, positions + 1]
    count = len(batch.task_of_row)
    sums = losses.new_zeros(count).index_add(0, rows, losses)
    return sums, torch.bincount(rows, minlength=count)


@dataclass(frozen=True)
class TaskLosses:
    """Mean losses.

    Attributes:
        means: (K,) float64, per supervised token; NaN for a task without one.
        tokens: (K,) int64.
    """

    means: Tensor
    tokens: Tensor


@torch.no_grad()
def task_losses(
    model: nn.Module, batches: Iterable[TaskBatch], num_tasks: int, reduce: Reduce = single_process
) -> TaskLosses:
    """V_k: the mean loss per supervised token of each task over all batches and ranks."""
    device = next(model.parameters()).device
    totals = torch.zeros(2, num_tasks, dtype=torch.float64, device=device)
    for batch in batches:
        sums, tokens = row_losses(model, batch)
        totals[0].index_add_(0, batch.task_of_row, sums.double())
        totals[1].index_add_(0, batch.task_of_row, tokens.double())
    totals = reduce(totals)
    return TaskLosses(totals[0] / totals[1], totals[1].long())


def tokens_of_tasks(
    batches: Iterable[TaskBatch],
    num_tasks: int,
    device: torch.device,
    reduce: Reduce = single_process,
) -> Tensor:
    """(K,) float64: supervised tokens of each task over all batches and ranks; no forward."""
    tokens = torch.zeros(num_tasks, dtype=torch.float64, device=device)
    for batch in batches:
        tokens.index_add_(0, batch.task_of_row, batch.tokens_of_rows().double())
    return reduce(tokens)
