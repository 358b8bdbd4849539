"""A training loss that never makes the logits of all positions, in plain PyTorch.

It goes around the head as Liger's fused linear cross-entropy does, in chunks of tokens and with the
gradients made in the forward, and holds no more than that: Liger makes the gradient of the weight
anew for each chunk. Liger's own kernel needs a GPU, or an interpreter too slow to be timed.

Dimensions: B sequences, T tokens, N tokens, V vocabulary, H features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Tokens whose logits are held at once. Liger has 16 of 4,096 tokens at a width of 1,024 and a
# vocabulary of 262,144, and more where the batch is larger or the vocabulary smaller.
AT_ONCE = 64


def train_by_fused_loss(model: Any) -> None:
    """From here on a training forward with labels gives the mean loss alone, by the head's weight.

    Args:
        model: a Transformers model, or one with adapters.
    """
    inner: nn.Module = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain, decoder, head = inner.forward, model.get_decoder(), model.get_output_embeddings()

    def forward(labels: Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return plain(**inputs)
        states = decoder(**inputs).last_hidden_state[:, :-1].flatten(0, 1)
        return FusedLoss.apply(states, head.weight, labels[:, 1:].flatten())

    inner.forward = forward


class FusedLoss(torch.autograd.Function):
    """() mean token cross-entropy of (N, H) states, (V, H) weight and (N,) labels, -100 where none.
    The gradients are written over in the backward, so there can be one only."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        by_states = torch.zeros_like(states)
        by_weight = torch.zeros_like(weight) if weight.requires_grad else None
        total = torch.zeros((), device=states.device)
        counted = int((labels != -100).sum())
        # Made once: on a CPU new memory for so many logits takes as long as a matrix product.
        room = weight.new_empty(min(AT_ONCE, len(states)), len(weight))
        wide = torch.empty_like(room, dtype=torch.float32)
        for some, wanted, by_some in zip(
            states.split(AT_ONCE), labels.split(AT_ONCE), by_states.split(AT_ONCE), strict=True
        ):
            logits = torch.mm(some, weight.T, out=room[: len(some)]).float()
            inside = wanted != -100
            places = wanted.clamp(min=0)[:, None]
            gradient = torch.softmax(logits, 1, out=wide[: len(some)])
            norm = logits.amax(1) - gradient.amax(1).log()
            total += ((norm - logits.gather(1, places)[:, 0]) * inside).sum()
            gradient.scatter_add_(1, places, -torch.ones_like(gradient[:, :1]))
            gradient = gradient.mul_(inside[:, None] / counted).to(weight.dtype)
            torch.mm(gradient, weight, out=by_some)
            if by_weight is not None:
                by_weight.addmm_(gradient.T, some)
        ctx.gradients = by_states, by_weight
        return total / counted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        by_states, by_weight = ctx.gradients
        ctx.gradients = None
        for one in (by_states, by_weight):
            if one is not None:
                one.mul_(gradients[0])
        return by_states, by_weight, None
