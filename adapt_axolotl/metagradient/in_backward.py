"""Task scores read off the ordinary training backward: one extra matmul a layer, no probe batch.

Every module that owns trained parameters gets its output wrapped in an identity that keeps the
module's input. When the backward passes it with the gradient b of the output, the share of each
token in <v, gradient> is

    b . (f(x; G) - f(x; 0))

where f is the module as a function of its own parameters, in which it must be affine, and G their
part of v: x G^T for a linear layer, G[token] for an embedding, the scaled input for a norm.

Dimensions: B lines, T tokens, R rows, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class UnfiredHooks(ValueError):
    """A module took part in the model but not in the backward that was read: a fused kernel goes
    around it, and its share of the scores is missing."""


class InBackward:
    """Listens to backwards; see the module docstring.

    Not covered: modules that are not affine in their parameters (DoRA magnitudes), parameters used
    outside their module's forward (LoRA on embeddings), experts that see no token. `uncovered`
    names the first two kinds, `UnfiredHooks` tells of any that slip through.

    Args:
        model: the trained module.
        parameters: the trained parameters.
    """

    def __init__(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._owners = _owners(model, self._parameters)
        self._handles: list[Any] = []
        self._shares_of: dict[str, Shares] = {}
        self._row_of_token: Tensor | None = None
        self._shares: Tensor | None = None
        self._fired: set[str] = set()
        self._unplaced: set[str] = set()

    @staticmethod
    def uncovered(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[str]:
        """Names of modules whose trained parameters have no rule; empty if all are covered."""
        return [name for name, module in _owners(model, parameters).items() if not _rule(module)]

    def listen(self, v: Sequence[Tensor]) -> None:
        """Install the hooks. v: a tensor for each parameter."""
        part_of = {id(p): part for p, part in zip(self._parameters, v, strict=True)}
        for name, module in self._owners.items():
            parts = {
                own: part_of[id(parameter)]
                for own, parameter in module.named_parameters(recurse=False)
                if id(parameter) in part_of
            }
            rule = _rule(module)
            assert rule is not None, f"{name} is uncovered"
            self._shares_of[name] = rule(module, parts)
            hook = self._forward_hook(name)
            self._handles.append(module.register_forward_hook(hook))

    def begin(self, row_of_token: Tensor) -> None:
        """Before the forward of a micro-batch. row_of_token: (B, T), -1 beside rows."""
        self._row_of_token = row_of_token
        self._shares = None
        self._fired = set()
        self._unplaced = set()

    def collect(self, loss_weight: float, num_rows: int) -> Tensor:
        """After the backward of a micro-batch.

        Args:
            loss_weight: d(what was differentiated) / d(one token's loss).
            num_rows: R.

        Returns:
            (R,) float64 <v, gradient of the sum of the row's token losses>.

        Raises:
            UnfiredHooks: a hooked module was passed by.
        """
        silent = [name for name in self._owners if name not in self._fired]
        if silent:
            raise UnfiredHooks(
                f"{len(silent)} of {len(self._owners)} modules were not heard in the backward, "
                f"such as {silent[0]}"
            )
        if self._unplaced:
            raise UnfiredHooks(
                f"the input of {sorted(self._unplaced)[0]} has no axis of tokens, so its share "
                "belongs to no row"
            )
        assert self._row_of_token is not None
        assert self._shares is not None
        inside = self._row_of_token >= 0
        sums = torch.zeros(num_rows, dtype=torch.float64, device=self._shares.device)
        sums.index_add_(0, self._row_of_token[inside], self._shares[inside].double())
        return sums / loss_weight

    def stop(self) -> None:
        """Remove the hooks and let go of v."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._shares_of = [], {}
        self._row_of_token = self._shares = None

    def _forward_hook(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            # Under reentrant checkpointing the first forward has no graph; its recomputation does.
            # A module that is called by keyword is not heard, and collect() says so.
            if not torch.is_grad_enabled() or not output.requires_grad or not args:
                return None
            return _Heard.apply(output, args[0], self, name)

        return hook

    def hear(self, name: str, inputs: Tensor, gradient: Tensor) -> None:
        """Add a module's share. inputs: what it was given; gradient: of its output."""
        assert self._row_of_token is not None, "begin() comes before the forward"
        with torch.no_grad():
            shares = self._shares_of[name](inputs, gradient)
            placed = _per_token(shares, inputs, self._row_of_token)
        self._fired.add(name)
        if placed is None:
            self._unplaced.add(name)
        else:
            self._shares = placed if self._shares is None else self._shares + placed


class _Heard(torch.autograd.Function):
    """The identity, but its backward tells the listener."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, inputs: Tensor, listener: InBackward, name: str
    ) -> Tensor:
        # save_for_backward, not an attribute: checkpointing then recomputes it like any other.
        ctx.save_for_backward(inputs)
        ctx.listener, ctx.name = listener, name
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inputs,) = ctx.saved_tensors
        ctx.listener.hear(ctx.name, inputs, gradients[0])
        return gradients[0], None, None, None


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
            part, x = parts["weight"].to(gradient.dtype), inputs.to(gradient.dtype)
            if part.shape[0] > part.shape[1]:  # a large vocabulary: b G is smaller than x G^T
                terms.append(((gradient @ part) * x).sum(-1, dtype=wide))
            else:
                terms.append((gradient * linear(x, part)).sum(-1, dtype=wide))
        if "bias" in parts:
            terms.append((gradient * parts["bias"].to(gradient.dtype)).sum(-1, dtype=wide))
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    return shares


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
        product = gradient * at_v.to(gradient.dtype)
        return product.sum(-1, dtype=_accumulation_type(gradient)) * scale

    return shares


def _constant_of(norm: nn.Module, parts: dict[str, Tensor]) -> Callable[[Tensor], Tensor] | None:
    """x -> f(x; 0), or None where it is always 0. Norms that scale by 1 + weight have one. Told by
    a random x, because a real one may be padding, which norms to 0."""
    zeros = {name: torch.zeros_like(part) for name, part in parts.items()}
    like = next(iter(zeros.values()))
    x = torch.randn(like.shape[-1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not _forward_with(norm, zeros, x.to(like).expand(1, 1, -1)).any():
            return None
    return lambda inputs: _forward_with(norm, zeros, inputs)


def _forward_with(module: nn.Module, values: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """module.forward, around its hooks, with other parameters."""
    own = {name: module._parameters[name] for name in values}
    try:
        module._parameters.update(values)  # type: ignore[arg-type]
        result: Tensor = module.forward(inputs)
    finally:
        module._parameters.update(own)
    return result


def _rule(module: nn.Module) -> Rule | None:
    if isinstance(module, nn.Linear):
        return _linear_rule if type(module).forward is nn.Linear.forward else None
    if isinstance(module, nn.Embedding):
        return _affine_rule
    # Each model family has a norm class of its own; all scale their input by a weight (or 1 + it).
    return _affine_rule if type(module).__name__.endswith("Norm") else None


def _owners(model: nn.Module, parameters: Sequence[nn.Parameter]) -> dict[str, nn.Module]:
    """The modules that own trained parameters directly; a tied one has several owners."""
    trained = {id(parameter) for parameter in parameters}
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if any(id(parameter) in trained for parameter in module.parameters(recurse=False))
    }


def _accumulation_type(gradient: Tensor) -> torch.dtype:
    return torch.float64 if gradient.dtype == torch.float64 else torch.float32


def _per_token(shares: Tensor, inputs: Tensor, row_of_token: Tensor) -> Tensor | None:
    """(B, T) from (B, T), (B T,), (B, T, H) or (B, H, T); None from anything else."""
    lines, tokens = row_of_token.shape
    if shares.dim() <= 2 and shares.numel() == lines * tokens:
        return shares.reshape(lines, tokens)
    if shares.dim() != 3 or shares.shape[0] != lines or tokens not in shares.shape[1:]:
        return None
    _, second, third = shares.shape
    heads_last = second == tokens
    if second == third:
        # As many heads as tokens: heads are split from features, so their stride is the smaller.
        heads_last = inputs.stride(1) > inputs.stride(2)
    return shares.sum(2 if heads_last else 1)
