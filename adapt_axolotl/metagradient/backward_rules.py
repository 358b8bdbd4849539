"""For each kind of module: how its input and the gradient of its output give the share of every
token in <v, gradient>.

Dimensions: B sequences, T tokens, H heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Shares = Callable[[Tensor, Tensor], Tensor]
"""(input, gradient of output) -> shares of the tokens, summed over features only."""

Rule = Callable[[nn.Module, dict[str, Tensor]], Shares]
"""(module, its parts of v) -> how to tell its shares."""


def _linear_rule(module: nn.Module, parts: dict[str, Tensor]) -> Shares:
    """b . (x G^T + g)."""

    def shares(inputs: Tensor, gradient: Tensor) -> Tensor:
        wide = _accumulation_type(gradient)
        terms = []
        if "weight" in parts:
            part, scale = _fitted(parts["weight"], gradient.dtype)
            x = inputs.to(gradient.dtype)
            if part.shape[0] > part.shape[1]:  # a large vocabulary: b G is smaller than x G^T
                product = _widened(gradient @ part) * x
            else:
                product = gradient * _widened(linear(x, part))
            terms.append(product.sum(-1, dtype=wide) * scale)
        if "bias" in parts:
            part, scale = _fitted(parts["bias"], gradient.dtype)
            terms.append((_widened(gradient) * part).sum(-1, dtype=wide) * scale)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    return shares


def _fitted(part: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | float]:
    """(part of v in `dtype`, what to multiply by afterwards): float16 would lose a small one, so it
    gets one of about 2^-6, which leaves room for sums."""
    if dtype != torch.float16:
        return part.to(dtype), 1.0
    largest = part.abs().max().float()
    scale = torch.where(largest > 0, torch.exp2(torch.ceil(torch.log2(largest)) + 6), 1.0)
    return (part / scale).to(dtype), scale


def _widened(product: Tensor) -> Tensor:
    """To be multiplied further: float16 would lose a small product."""
    return product.float() if product.dtype == torch.float16 else product


def _affine_rule(module: nn.Module, parts: dict[str, Tensor]) -> Shares:
    """b . (f(x; G) - f(x; 0)) for any module that is affine in its parameters."""
    constant = None if isinstance(module, nn.Embedding) else _constant_of(module, parts)
    scale = 1.0
    if constant is not None:
        # Beside the constant a small G would be lost in rounding.
        scale = max(float(part.abs().max()) for part in parts.values()) or 1.0
        parts = {name: part / scale for name, part in parts.items()}

    def shares(inputs: Tensor, gradient: Tensor) -> Tensor:
        at_v = _forward_with(module, parts, inputs)
        if constant is not None:
            at_v = at_v - constant(inputs)
        product = _widened(gradient) * at_v.to(_widened(gradient).dtype)
        return product.sum(-1, dtype=_accumulation_type(gradient)) * scale

    return shares


def _constant_of(module: nn.Module, parts: dict[str, Tensor]) -> Callable[[Tensor], Tensor] | None:
    """x -> f(x; 0), or None where it is always 0. Norms that scale by 1 + weight have one. Told by
    a random x, because a real one may be padding, which norms to 0."""
    zeros = {name: torch.zeros_like(part) for name, part in parts.items()}
    like = next(iter(zeros.values()))
    features = like.shape[0 if _is_conv1d(module) else -1]
    x = torch.randn(features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not _forward_with(module, zeros, x.to(like).expand(1, 1, -1)).any():
            return None
    return lambda inputs: _forward_with(module, zeros, inputs)


def _forward_with(module: nn.Module, values: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """module.forward, around its hooks, with other parameters."""
    own = {name: module._parameters[name] for name in values}
    try:
        module._parameters.update(values)  # type: ignore[arg-type]
        result: Tensor = module.forward(inputs)
    finally:
        module._parameters.update(own)
    return result


def rule_of(module: nn.Module) -> Rule | None:
    if isinstance(module, nn.Linear):
        return _linear_rule if type(module).forward is nn.Linear.forward else None
    if isinstance(module, nn.Embedding) or _is_conv1d(module):
        return _affine_rule
    # Each model family has a norm class of its own; all scale their input by a weight (or 1 + it).
    return _affine_rule if type(module).__name__.endswith("Norm") else None


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, whose weight is (inputs, outputs)."""
    return type(module).__name__ == "Conv1D"


def _accumulation_type(gradient: Tensor) -> torch.dtype:
    return torch.float64 if gradient.dtype == torch.float64 else torch.float32


def per_token(shares: Tensor, inputs: Tensor, row_of_token: Tensor) -> Tensor | None:
    """(B, T) from (B, T), (B T,), (B, T, H) or (B, H, T); None from anything else."""
    sequences, tokens = row_of_token.shape
    if shares.dim() <= 2 and shares.numel() == sequences * tokens:
        return shares.reshape(sequences, tokens)
    if shares.dim() != 3 or shares.shape[0] != sequences or tokens not in shares.shape[1:]:
        return None
    _, second, third = shares.shape
    heads_last = second == tokens
    if second == third:
        # As many heads as tokens: heads are split from features, so their stride is the smaller.
        heads_last = inputs.stride(1) > inputs.stride(2)
    return shares.sum(2 if heads_last else 1)
