"""A head over some tokens at a time, forward and backward, outside of autograd's graph.

Each kind gives the logits of a chunk, in float32 (float64 of a float64 model) and to be written
over, takes the gradient by them, and has at the end that of the states and of each trained
parameter.

Dimensions: N tokens, n of a chunk, V vocabulary, H features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def wide_type(values: Tensor) -> torch.dtype:
    """In which losses are computed: float32, float64 where the values are it."""
    return torch.promote_types(values.dtype, torch.float32)


def wide(values: Tensor) -> Tensor:
    """The values in it."""
    return values.to(wide_type(values))


class Room:
    """Memory for one chunk after the other. On a CPU new memory for so many logits takes as long as
    a matrix product."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def of(self, rows: Tensor, width: int, dtype: torch.dtype) -> Tensor:
        """(n, width) of what was there before, for the (n, ...) rows."""
        size = len(rows) * width
        if self._held is None or len(self._held) < size:
            self._held = rows.new_empty(size, dtype=dtype)
        return self._held[:size].view(len(rows), width)


def in_chunks(
    head: nn.Module | None, states: Tensor, trained: Sequence[Tensor]
) -> GivenLogits | PlainHead | AnyHead:
    """See the module docstring. Without trained parameters it is one that gives logits only.

    Args:
        head: None where its logits are there.
        states: (N, H), or (N, V) logits.
        trained: all of the head's parameters that are trained, in their order.
    """
    if head is None:
        return GivenLogits(states)
    return (PlainHead if is_plain(head) else AnyHead)(head, states, trained)


def is_plain(head: Any) -> bool:
    """Whether it is its weight and bias and nothing else: no adapter, wrapper or hook, and a weight
    that is neither quantised nor sharded."""
    hooks = head._forward_hooks or head._forward_pre_hooks
    hooks = hooks or head._backward_hooks or head._backward_pre_hooks
    linear = getattr(head.forward, "__func__", None) is nn.Linear.forward
    return linear and not hooks and type(head.weight) is nn.Parameter


class GivenLogits:
    """Logits that are there."""

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits
        self._by_logits: Tensor | None = None

    def logits(self, some: slice) -> Tensor:
        return self._logits[some].to(wide_type(self._logits), copy=True)

    def add(self, some: slice, by_logits: Tensor) -> None:
        if self._by_logits is None:  # as large as the logits, so only where it is asked for
            self._by_logits = torch.empty_like(self._logits)
        self._by_logits[some] = by_logits

    def gradients(self) -> list[Tensor]:
        return [torch.empty_like(self._logits) if self._by_logits is None else self._by_logits]


class PlainHead:
    """A plain linear layer: logits in one place, the gradient of its weight added to in place."""

    def __init__(self, head: Any, states: Tensor, trained: Sequence[Tensor]) -> None:
        device, dtype = states.device.type, head.weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)  # asked for here: it knows no `out`
        self._types = states.dtype, *(one.dtype for one in trained)
        self._weight = head.weight.to(dtype)
        self._bias = None if head.bias is None else head.bias.to(dtype)
        self._states = states.to(dtype)
        self._room, self._wide = Room(), Room()
        self._by_states = torch.empty_like(self._states)
        self._by_trained = [torch.zeros_like(one, dtype=dtype) for one in trained]

    def logits(self, some: slice) -> Tensor:
        states = self._states[some]
        room = self._room.of(states, len(self._weight), states.dtype)
        logits = torch.mm(states, self._weight.T, out=room)
        if self._bias is not None:
            logits.add_(self._bias)
        dtype = wide_type(logits)
        if logits.dtype == dtype:
            return logits
        return self._wide.of(logits, len(self._weight), dtype).copy_(logits)

    def add(self, some: slice, by_logits: Tensor) -> None:
        by_logits = by_logits.to(self._weight.dtype)
        torch.mm(by_logits, self._weight, out=self._by_states[some])
        for one in self._by_trained:
            if one.ndim == 2:
                one.addmm_(by_logits.T, self._states[some])
            else:
                one.add_(by_logits.sum(0))

    def gradients(self) -> list[Tensor]:
        found = (self._by_states, *self._by_trained)
        return [one.to(dtype) for one, dtype in zip(found, self._types, strict=True)]


class AnyHead:
    """Any other head, by autograd: adapters, wrappers, quantised weights. The gradients of its
    parameters are new ones for each chunk."""

    def __init__(self, head: nn.Module, states: Tensor, trained: Sequence[Tensor]) -> None:
        self._head = head
        self._states = states
        # In their place others that share their memory: hooks on them wait for the real backward.
        names = [name for name, one in head.named_parameters() if one.requires_grad]
        pairs = zip(names, trained, strict=bool(trained))
        self._leaves = {name: one.detach().requires_grad_() for name, one in pairs}
        self._by_states = torch.empty_like(states)
        self._by_trained = [torch.zeros_like(one) for one in trained]

    def logits(self, some: slice) -> Tensor:
        self._made: Tensor | None = None  # let go of, with its graph
        with torch.enable_grad():
            self._seen = self._states[some].detach().requires_grad_()
            self._made = functional_call(self._head, self._leaves, (self._seen,))
        return self._made.detach().to(wide_type(self._made), copy=True)

    def add(self, some: slice, by_logits: Tensor) -> None:
        assert self._made is not None
        inputs = [self._seen, *self._leaves.values()]
        by_states, *by_trained = torch.autograd.grad(
            self._made, inputs, by_logits.to(self._made.dtype), allow_unused=True
        )
        self._by_states[some] = by_states
        for one, more in zip(self._by_trained, by_trained, strict=True):
            if more is not None:
                one.add_(more)

    def gradients(self) -> list[Tensor]:
        return [self._by_states, *self._by_trained]
