"""Gradients of a scalar by the trained parameters, without a trace in what training gathers.

`torch.autograd.grad` finds them where each process holds all parameters, and where they are flat
parts (`flat_parts.py`). FSDP2's parameters are DTensors beside their module's forward and
backward: it finds no gradient of these, and no hook fires on them. So theirs are taken by
`.backward()`, which leaves them in `.grad`: the mean over the processes, each holding its part.
What training has gathered there is put aside and comes back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.flat_parts import any_flat, flat, sum_here
from adapt_axolotl.metagradient.sharded import is_sharded


@contextlib.contextmanager
def gradients_aside(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within it the parameters have no `.grad`; what they had comes back."""
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


@contextlib.contextmanager
def gradients_taken(
    parameters: Sequence[nn.Parameter], take: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Each gradient is handed over as soon as the backward has it, with the parameter's number, and
    what `torch.autograd.grad` gives are zeros without memory: to hold all gradients would cost the
    parameters' size once more."""

    def handed_over(number: int) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            take(number, gradient)
            return gradient.new_zeros(()).expand_as(gradient)

        return hook

    handles = [
        parameter.register_hook(handed_over(number)) for number, parameter in enumerate(parameters)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradients_of(total: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of a scalar; the parameters' `.grad` is not touched.

    Args:
        total: what to differentiate.
        parameters: where these are sharded, all processes.

    Returns:
        For each parameter its gradient, or None where `total` does not depend on it; of a sharded
        one the mean over the processes.
    """
    if not is_sharded(parameters):
        return list(torch.autograd.grad(total, list(parameters), allow_unused=True))
    if any_flat(parameters):
        return _flat_gradients_of(total, parameters)
    with gradients_aside(parameters):
        total.backward()
        found = [parameter.grad for parameter in parameters]
    if not is_sharded([gradient for gradient in found if gradient is not None]):
        raise RuntimeError(
            "a backward left no gradients on sharded parameters: it ran where gradients are "
            "accumulated without being reduced (set_requires_gradient_sync(False))"
        )
    return found


def _flat_gradients_of(total: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    found: list[Tensor | None] = [None] * len(parameters)

    def keep(number: int, gradient: Tensor) -> None:
        # A sum over processes of scaled gradients can be more than float16 holds.
        gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        sums = flat(parameters[number], sum_here(parameters[number], gradient))
        found[number] = sums / sums.device_mesh.size()

    with gradients_taken(parameters, keep):
        torch.autograd.grad(total, list(parameters), allow_unused=True)
    return found
