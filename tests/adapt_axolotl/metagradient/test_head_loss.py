"""The loss of a head in chunks, with its gradient made in the forward, against autograd through all
logits at once and against numerical differentiation.

Tolerances, relative to the largest of what is expected: 1e-12 in float64 (1e-9 numerically), 1e-6
in float32; bfloat16 to 2e-2 of the same numbers in float32, with a rounding after each token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapt_axolotl.metagradient import head_in_chunks, head_loss
from adapt_axolotl.metagradient.head_loss import head_losses, weighted_head_loss
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE, LogitChange
from tests.support.models import relative_error

TOKENS, WIDTH, VOCABULARY = 23, 16, 61


# As Gemma and Granite together.
CAPPED = LogitChange(scale=0.5, cap=1.5)
CHANGES = {
    "nothing": AS_THEY_ARE,
    "a scale": LogitChange(scale=0.5),
    "a soft cap": LogitChange(cap=1.5),
    "both": CAPPED,
}


def linear(bias: bool = False) -> nn.Module:
    return nn.Linear(WIDTH, VOCABULARY, bias=bias)


def frozen() -> nn.Module:
    return linear().requires_grad_(False)


def with_adapters(**keys: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        inside = nn.ModuleDict({"body": nn.Linear(2, 2), "head": linear()})
        config = LoraConfig(r=2, init_lora_weights=False, **keys)
        return get_peft_model(inside, config).base_model.model["head"]  # type: ignore[arg-type]

    return make


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


HEADS: dict[str, Callable[[], nn.Module | None]] = {
    "linear": linear,
    "linear with a bias": lambda: linear(bias=True),
    "frozen": frozen,
    "adapters": with_adapters(target_modules=["head"]),
    "modules_to_save": with_adapters(target_modules=["body"], modules_to_save=["head"]),
    "a forward of its own": lambda: Doubled(WIDTH, VOCABULARY),
    "logits": lambda: None,
}


def make(name: str, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
    """(head, states, labels, weights)"""
    torch.manual_seed(3)
    head = HEADS[name]()
    head = None if head is None else head.to(dtype)
    features = VOCABULARY if head is None else WIDTH
    states = (2 * torch.randn(TOKENS, features, dtype=torch.float64)).to(dtype).requires_grad_()
    labels = torch.randint(VOCABULARY, (TOKENS,))
    weights = torch.rand(TOKENS, dtype=torch.float64)
    weights[4] = 0
    return head, states, labels, weights.to(torch.promote_types(dtype, torch.float32))


def inputs_of(head: nn.Module | None, states: Tensor) -> list[Tensor]:
    trained = [] if head is None else [one for one in head.parameters() if one.requires_grad]
    return [states, *trained]


def at_once(head: Any, after: Any, states: Tensor, labels: Tensor, weights: Tensor) -> Any:
    """(gradients, losses)"""
    logits = states if head is None else after(head(states))
    losses = cross_entropy(logits.to(weights.dtype), labels, reduction="none")
    found = torch.autograd.grad(0.37 * (weights * losses).sum(), inputs_of(head, states))
    return found, losses.detach()


def in_chunks(head: Any, after: Any, states: Tensor, labels: Tensor, weights: Tensor) -> Any:
    total, losses = weighted_head_loss(head, after, states, labels, weights)
    assert not losses.requires_grad
    assert float(total.detach()) == pytest.approx(float((weights * losses).sum()), rel=1e-6)
    return torch.autograd.grad(0.37 * total, inputs_of(head, states)), losses


@pytest.fixture(params=[1, 7, TOKENS + 5], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tokens of a chunk: the last one may be smaller."""
    monkeypatch.setattr(head_loss, "CHUNK", request.param * VOCABULARY + 3)
    return int(request.param)


@pytest.mark.parametrize("after", CHANGES)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_gradients_are_those_of_all_logits_at_once(
    name: str, after: str, dtype: torch.dtype, tolerance: float
) -> None:
    made = make(name, dtype)
    change = AS_THEY_ARE if made[0] is None else CHANGES[after]
    expected, losses = at_once(made[0], change, *made[1:])
    found, ours = in_chunks(made[0], change, *made[1:])
    assert relative_error(ours, losses) < tolerance
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert relative_error(one, other) < tolerance
    alone = head_losses(made[0], change, *made[1:3])
    assert not alone.requires_grad
    assert relative_error(alone, losses) < tolerance


@pytest.mark.parametrize("name", HEADS)
def test_gradients_are_numerical_derivatives(name: str) -> None:
    head, states, labels, weights = make(name)
    after = AS_THEY_ARE if head is None else CAPPED
    inputs = inputs_of(head, states)
    total, _ = weighted_head_loss(head, after, states, labels, weights)
    found = torch.autograd.grad(total, inputs)
    step = 2e-4
    for one, gradient in zip(inputs, found, strict=True):
        along = torch.randn_like(one)
        slope = 0.0
        for steps, factor in ((1, 8), (-1, -8), (2, -1), (-2, 1)):  # exact to step^4
            with torch.no_grad():
                one.add_(along, alpha=steps * step)
                slope += factor * float(weights @ head_losses(head, after, states, labels))
                one.sub_(along, alpha=steps * step)
        assert float((along * gradient).sum()) == pytest.approx(slope / (12 * step), rel=1e-9)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("autocast", [True, False])
def test_in_bfloat16_gradients_are_near_those_of_float32(name: str, autocast: bool) -> None:
    exact, states, labels, weights = make(name, torch.float32)
    rounded = make(name, torch.float32 if autocast else torch.bfloat16)
    with torch.no_grad():  # the same numbers
        for one, other in zip(
            inputs_of(exact, states), inputs_of(rounded[0], rounded[1]), strict=True
        ):
            other.copy_(one)
            one.copy_(other.bfloat16())
            other.copy_(one)
    expected, losses = at_once(exact, AS_THEY_ARE, states, labels, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found, ours = in_chunks(rounded[0], AS_THEY_ARE, *rounded[1:])
    assert ours.dtype == torch.float32
    assert relative_error(ours, losses) < 2e-2
    for one, other, given in zip(found, expected, inputs_of(*rounded[:2]), strict=True):
        assert one.dtype == given.dtype
        assert relative_error(one.float(), other) < 2e-2


def test_losses_far_apart_are_neither_infinite_nor_0() -> None:
    """By more than the exponential of float32 holds, and by less than 1 shows."""
    logits = torch.tensor([[0.0, 200.0, 3.0], [0.0, 9.0, -9.0]], requires_grad=True)
    labels, weights = torch.tensor([0, 1]), torch.ones(2)
    (found,), losses = in_chunks(None, AS_THEY_ARE, logits, labels, weights)
    expected = cross_entropy(logits.double(), labels, reduction="none")
    torch.testing.assert_close(losses.double(), expected, rtol=1e-3, atol=0.0)
    (exact,) = torch.autograd.grad(0.37 * expected.sum(), logits)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("name", ["linear", "adapters"])
def test_hooks_on_parameters_hear_one_gradient_in_the_backward(name: str) -> None:
    """v and the reader of the backward hang on such hooks."""
    head, states, labels, weights = make(name)
    heard: list[Tensor] = []
    trained = inputs_of(head, states)[1:]
    for one in trained:
        one.register_hook(lambda gradient: heard.append(gradient.clone()))
    total, _ = weighted_head_loss(head, AS_THEY_ARE, states, labels, weights)
    assert not heard
    found = torch.autograd.grad(0.37 * total, trained)
    assert len(heard) == len(trained)
    for one, other in zip(sorted(heard, key=len), sorted(found, key=len), strict=True):
        assert torch.equal(one, other)


def test_a_second_backward_is_refused() -> None:
    head, states, labels, weights = make("linear")
    total, _ = weighted_head_loss(head, AS_THEY_ARE, states, labels, weights)
    total.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="second backward"):
        total.backward()


def test_without_tokens_there_is_a_loss_of_0_with_a_gradient() -> None:
    for name in HEADS:
        head, states, labels, weights = make(name)
        none = states.detach()[:0].requires_grad_()
        found, _ = in_chunks(head, AS_THEY_ARE, none, labels[:0], weights[:0])
        assert all((one == 0).all() for one in found)


@pytest.mark.parametrize("name", HEADS)
def test_only_a_plain_linear_layer_is_taken_for_one(name: str) -> None:
    head = make(name)[0]
    plain = name in ("linear", "linear with a bias", "frozen")
    assert head is None or head_in_chunks.is_plain(head) == plain
    if plain:
        handle = head.register_forward_hook(lambda module, args, output: 2 * output)
        assert not head_in_chunks.is_plain(head)
        handle.remove()
        head.forward = lambda states: 2 * states  # as accelerate replaces it
        assert not head_in_chunks.is_plain(head)
