"""The loss of a head over many tokens, chunk by chunk, with its gradient made at once.

Where it is known before the backward how much each token counts, the gradient by the logits is
known as soon as these are there: weight . (softmax - one-hot). So the logits of a chunk are made
once, their gradient takes their place, and it is multiplied by the head's weight and by the states,
as fused losses do (Liger's fused linear cross-entropy). That is three matrix products, two where
the head is frozen; a backward that makes the logits again takes one more.

What the head's parameters get is added up over the chunks in the type in which the head computes,
as autograd does: in bfloat16 each chunk rounds by up to 2^-9 of the sum so far, which grows to some
percent of the gradient's length where a micro-batch has hundreds of chunks.

Dimensions: N tokens, n of a chunk, V vocabulary, H features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.head_in_chunks import in_chunks, wide_type
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE, LogitChange

# Logits of a chunk, in float32: 64 MiB. One tensor of them is held, another where the model caps
# them or the head computes in 16 bits (two of these), two more where autograd differentiates the
# head. Of a vocabulary of 262,144 it is 64 tokens; with fewer, a GPU would wait for the weight of
# the head.
CHUNK = 2**24


def tokens_at_once(vocabulary: int) -> int:
    """Those of a chunk."""
    return max(1, CHUNK // vocabulary)


def weighted_head_loss(
    head: nn.Module | None,
    change: LogitChange,
    states: Tensor,
    labels: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """The sum of weighted token losses, for one backward, and the losses themselves, without one.

    Args:
        head: makes logits of states.
        change: what is done to these.
        states: (N, H); without a head (N, V) logits, to which nothing is done.
        labels: (N,)
        weights: (N,) of the token losses in the sum.

    Returns:
        () and (N,), float32, float64 where the states are it.
    """
    trained = () if head is None else (one for one in head.parameters() if one.requires_grad)
    total, losses = _HeadLoss.apply(head, change, labels, weights, states, *trained)
    return total, losses


@torch.no_grad()
def head_losses(
    head: nn.Module | None, change: LogitChange, states: Tensor, labels: Tensor
) -> Tensor:
    """(N,) the losses alone; arguments as above."""
    chunks = in_chunks(head, states, ())
    losses = torch.empty(len(labels), dtype=wide_type(states), device=states.device)
    for some in _slices(head, states):
        losses[some] = losses_written_over(change.write_over(chunks.logits(some)), labels[some])[0]
    return losses


def _slices(head: Any, states: Tensor) -> Iterator[slice]:
    size = tokens_at_once(states.shape[-1] if head is None else len(head.weight))
    return (slice(first, first + size) for first in range(0, len(states), size))


def losses_written_over(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) token losses of (n, V) wide logits, which are written over, and (n,) the sums of the
    `exponentials` that take their place."""
    of_labels = logits.gather(1, labels[:, None])[:, 0]
    largest, sums = exponentials(logits)
    return largest - of_labels + sums.log(), sums


def exponentials(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of wide logits the largest, and the sum of the exponentials beyond it, which take
    their place. In place, because on a CPU new memory for so many takes longer."""
    largest = logits.amax(1)
    return largest, logits.sub_(largest[:, None]).exp_().sum(1)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        head: nn.Module | None,
        change: LogitChange,
        labels: Tensor,
        weights: Tensor,
        states: Tensor,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor]:
        chunks = in_chunks(head, states, trained)
        losses = torch.empty(len(labels), dtype=wide_type(states), device=states.device)
        weights = weights.to(losses)
        for some in _slices(head, states):
            losses[some], by_logits = _losses_and_gradient(
                chunks.logits(some), labels[some], weights[some], change
            )
            chunks.add(some, by_logits)
        ctx.gradients = chunks.gradients()
        ctx.mark_non_differentiable(losses)
        ctx.set_materialize_grads(False)
        return (weights * losses).sum(), losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_total: Tensor, _: None) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # let go of, and written over
        assert gradients is not None, "a second backward through one forward"
        if by_total != 1:
            for one in gradients:
                one.mul_(by_total)
        return (None, None, None, None, *gradients)


def _losses_and_gradient(
    logits: Tensor, labels: Tensor, weights: Tensor, change: LogitChange
) -> tuple[Tensor, Tensor]:
    """(n,) token losses and the gradient of their weighted sum by (n, V) wide logits, which are
    written over."""
    changed = change.write_over(logits)
    slopes = change.slopes(changed)
    losses, sums = losses_written_over(changed, labels)
    gradient = changed.mul_((weights / sums)[:, None])
    # Of the label softmax - 1, without the rounding of a softmax near 1.
    gradient.scatter_(1, labels[:, None], (weights * torch.expm1(-losses))[:, None])
    return losses, gradient if change == AS_THEY_ARE else gradient.mul_(slopes)
