"""Losses of supervised tokens without the logits of all the others.

With a vocabulary of 150,000 the logits of every position are the largest tensor of a forward, and
training with a fused loss never makes them. So the head sees supervised positions only, and where
even these are many, it sees them chunk by chunk (`head_loss.py`). A head that FSDP2 or ZeRO-3
shards sees them at once; there the loss of its logits is in chunks, so that they are held in the
type that the model gives them and not in float32.

Dimensions: B sequences, T tokens, N supervised tokens, V vocabulary, H features.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.head_loss import (
    head_losses,
    tokens_at_once,
    weighted_head_loss,
)
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE, LogitChange, change_of
from adapt_axolotl.metagradient.sharded import has_shards
from adapt_axolotl.metagradient.task_batch import TaskBatch

LOG = logging.getLogger("axolotl.adapt.meta_step")


def supervised_token_losses(model: nn.Module, batch: TaskBatch) -> Tensor:
    """Cross-entropy of the supervised tokens, without a gradient.

    The model gets no labels, so that it gives its logits even where a fused loss would skip them.

    Args:
        model: gives logits.
        batch: its rows.

    Returns:
        (N,) float32, float64 for a float64 model.
    """
    with torch.no_grad():
        seen = _seen(model, batch, whole_logits=False)
        return head_losses(seen.head, seen.change, seen.states, seen.labels)


def weighted_token_losses(
    model: nn.Module, batch: TaskBatch, weights: Tensor, *, whole_logits: bool
) -> tuple[Tensor, Tensor]:
    """Their sum, for one backward, and the losses themselves, without one.

    Args:
        model: gives logits.
        batch: its rows.
        weights: (N,) of the token losses in the sum.
        whole_logits: apply the head to all positions.

    Returns:
        () and (N,)
    """
    seen = _seen(model, batch, whole_logits=whole_logits)
    return weighted_head_loss(seen.head, seen.change, seen.states, seen.labels, weights)


@dataclass(frozen=True)
class _Seen:
    """What losses are made of.

    Attributes:
        head: of the model; None where its logits are there.
        change: what the model does to the head's logits.
        states: (N, H) what the head sees; (N, V) the model's logits.
        labels: (N,) what they predict.
    """

    head: Any
    change: LogitChange
    states: Tensor
    labels: Tensor


def _seen(model: nn.Module, batch: TaskBatch, *, whole_logits: bool) -> _Seen:
    """One forward."""
    predicts = batch.learned()
    labels = batch.labels[:, 1:][predicts]
    head = None if whole_logits else head_of(model)
    if head is None:
        logits = model(**batch.inputs).logits[:, :-1][predicts]
        return _Seen(None, AS_THEY_ARE, logits, labels)
    # FSDP2 and ZeRO-3 have the head's weight whole only while the model's own forward runs. Not
    # asked of the weight, which a forward may leave whole: all processes must go the same way.
    if not has_shards(model) and len(labels) > tokens_at_once(len(head.weight)):
        change = change_of(model)
        hidden, first = _hidden(model, head, batch.inputs, predicts)
        with torch.no_grad():
            ours = change(head(hidden[:1]).float())
            known = torch.allclose(ours, first.float(), rtol=1e-2, atol=1e-3)
        if known:
            return _Seen(head, change, hidden, labels)
        _say_once(model)
    with head_sees(head, lambda states: states[:, :-1][predicts]):
        return _Seen(None, AS_THEY_ARE, model(**batch.inputs).logits, labels)


def head_of(model: nn.Module) -> Any:
    """The module that turns hidden states into logits; None where it is not known."""
    find = getattr(model, "get_output_embeddings", None)
    head = None if find is None else find()
    return head if isinstance(getattr(head, "weight", None), Tensor) else None


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


_said: set[str] = set()


def _say_once(model: nn.Module) -> None:
    name = type(model).__name__
    if name not in _said:
        _said.add(name)
        LOG.warning(
            f"{name} changes the logits after its head, so a meta step holds the logits of all "
            "supervised tokens of a micro-batch at once; lower micro_batch_size if that is too much"
        )
