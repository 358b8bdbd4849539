"""Losses of supervised tokens without the logits of all the others.

With a vocabulary of 150,000 the logits of every position are the largest tensor of a forward, and
training with a fused loss never makes them. So the head sees supervised positions only, and where
even these are many, it sees them chunk by chunk and a backward computes each chunk again. A head
that FSDP2 or ZeRO-3 shards sees them at once; there the loss of its logits is in chunks, so that
they are held in the type that the model gives them and not in float32.

Dimensions: B sequences, T tokens, N supervised tokens, V vocabulary, H features.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from adapt_axolotl.metagradient.sharded import has_shards

LOG = logging.getLogger("axolotl.adapt.meta_step")

# Logits of a chunk, in float32: 64 MiB. Two tensors of them are held at once. Of a vocabulary of
# 262,144 that is 64 tokens; with fewer, a GPU would wait for the weight of the head.
CHUNK = 2**24


def supervised_token_losses(
    model: nn.Module,
    inputs: dict[str, Tensor],
    predicts: Tensor,
    labels: Tensor,
    *,
    whole_logits: bool = False,
) -> Tensor:
    """Cross-entropy of the supervised tokens.

    The model gets no labels, so that it gives its logits even where a fused loss would skip them.

    Args:
        model: gives logits.
        inputs: what it takes, each (B, T).
        predicts: (B, T-1) bool, positions that predict a supervised token.
        labels: (N,) these tokens.
        whole_logits: apply the head to all positions.

    Returns:
        (N,) float32, float64 for a float64 model.
    """
    head = None if whole_logits else head_of(model)
    if head is None:
        return _losses(model(**inputs).logits[:, :-1][predicts], labels)
    vocabulary = head.weight.shape[0]
    # FSDP2 and ZeRO-3 have the head's weight whole only while the model's own forward runs. Not
    # asked of the weight, which a forward may leave whole: all processes must go the same way.
    if len(labels) * vocabulary > CHUNK and not has_shards(model):
        after = after_the_head(model)
        hidden, first = _hidden(model, head, inputs, predicts)
        with torch.no_grad():
            ours = after(head(hidden[:1]).float())
            known = torch.allclose(ours, first.float(), rtol=1e-2, atol=1e-3)
        if known:
            return _in_chunks(head, after, hidden, labels, max(1, CHUNK // vocabulary))
        _say_once(model)
    with head_sees(head, lambda states: states[:, :-1][predicts]):
        return _losses(model(**inputs).logits, labels)


def head_of(model: nn.Module) -> Any:
    """The module that turns hidden states into logits; None where it is not known."""
    find = getattr(model, "get_output_embeddings", None)
    head = None if find is None else find()
    return head if isinstance(getattr(head, "weight", None), Tensor) else None


def after_the_head(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What the model's config says that it does to the logits of its head: a scale (Cohere,
    Granite), a soft cap (Gemma)."""
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)

    def after(logits: Tensor) -> Tensor:
        logits = logits if scale == 1.0 else logits * scale
        return logits if not cap else cap * torch.tanh(logits / cap)

    return after


@contextlib.contextmanager
def head_sees(head: nn.Module, choose: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it the head gets `choose` of its (B, T, H) input."""

    def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (choose(args[0]), *args[1:])

    handle = head.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _hidden(
    model: nn.Module, head: nn.Module, inputs: dict[str, Tensor], predicts: Tensor
) -> tuple[Tensor, Tensor]:
    """(N, H) what the head would see at the supervised positions, and (1, V) what the model makes
    of the first of them."""
    kept: list[Tensor] = []

    def keep(states: Tensor) -> Tensor:
        kept.append(states[:, :-1][predicts])
        return kept[0][:1]

    with head_sees(head, keep):
        first = model(**inputs).logits
    return kept[0], first


def _in_chunks(
    head: nn.Module,
    after: Callable[[Tensor], Tensor],
    hidden: Tensor,
    labels: Tensor,
    size: int,
) -> Tensor:
    """(N,) losses; a chunk's logits are dropped and computed again by the backward."""

    def losses(states: Tensor, tokens: Tensor) -> Tensor:
        found: Tensor = LossOverLogits.apply(after(wide(head(states))), tokens)
        return found

    return _chunk_by_chunk(losses, hidden, labels, size)


class LossOverLogits(torch.autograd.Function):
    """(N,) cross-entropy of (N, V) logits that nothing else needs: the gradient takes their place,
    where `cross_entropy` holds three more tensors of their size."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        norms = logits.logsumexp(1, keepdim=True)
        ctx.save_for_backward(logits, labels[:, None], norms)
        return (norms - logits.gather(1, labels[:, None])).squeeze(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, labels, norms = ctx.saved_tensors
        by_logits = logits.detach()  # which may be a leaf, and a gradient must not require one
        by_logits.sub_(norms).exp_()
        by_logits.scatter_add_(1, labels, torch.full_like(norms, -1))
        return by_logits.mul_(gradient[:, None]), None


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) of (N, V) logits; no more than a chunk of them is in float32 at once."""
    return _chunk_by_chunk(_wide_losses, logits, labels, max(1, CHUNK // logits.shape[-1]))


def _wide_losses(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(wide(logits), labels, reduction="none")


def wide(values: Tensor) -> Tensor:
    """In which losses are computed: float32, float64 where they are it."""
    return values if values.dtype == torch.float64 else values.float()


def _chunk_by_chunk(
    losses: Callable[[Tensor, Tensor], Tensor], of: Tensor, labels: Tensor, size: int
) -> Tensor:
    """(N,) losses of (N, ...) and (N,) labels, `size` tokens at a time."""
    if len(labels) <= size:
        return losses(of, labels)
    parts = []
    for part, tokens in zip(of.split(size), labels.split(size), strict=True):
        if torch.is_grad_enabled():
            # Nothing random happens here, so the random streams need not be kept.
            parts.append(
                checkpoint(losses, part, tokens, use_reentrant=False, preserve_rng_state=False)
            )
        else:
            parts.append(losses(part, tokens))
    return torch.cat(parts)


_said: set[str] = set()


def _say_once(model: nn.Module) -> None:
    name = type(model).__name__
    if name not in _said:
        _said.add(name)
        LOG.warning(
            f"{name} changes the logits after its head, so a meta step holds the logits of all "
            "supervised tokens of a micro-batch at once; lower micro_batch_size if that is too much"
        )
