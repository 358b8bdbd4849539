"""A training loss that balances experts is read, each row's part of it with the row's own.

float64, to 1e-9 of the largest product; the reference differentiates the part of each row, with the
shares of tokens that experts get held at those of the whole micro-batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from transformers.models.mixtral import modeling_mixtral

from adapt_axolotl.metagradient import in_backward
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, InBackward
from adapt_axolotl.metagradient.router_loss import with_padding
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.task_batch import TaskBatch
from tests.support.by_rows import experts
from tests.support.layouts import LAYOUTS, in_two_bins
from tests.support.models import (
    make_rows,
    padded,
    random_v,
    relative_error,
    set_exact_norms,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]
COEFFICIENT = 5.0  # so that a score without it would be another


def shares_of_tokens(
    logits: tuple[Tensor, ...], number: int, top_k: int, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(E,) f, and (L B T, E) probabilities, each over the number of tokens counted."""
    found = torch.cat([one.softmax(-1) for one in logits])
    weight = torch.ones(len(found)) if mask is None else mask.flatten().repeat(len(logits))
    chosen = torch.nn.functional.one_hot(found.topk(top_k, dim=-1).indices, number).sum(1)
    weight = weight.double()[:, None] / weight.sum()
    return (chosen * weight).sum(0), found * weight


def in_float64(
    gate_logits: Any, num_experts: int, top_k: int = 2, attention_mask: Tensor | None = None
) -> Tensor:
    """`load_balancing_loss_func`, which adds up in float32."""
    shares, each = shares_of_tokens(gate_logits, num_experts, top_k, attention_mask)
    return num_experts * (shares * each.sum(0)).sum()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = modeling_mixtral.load_balancing_loss_func
    logits = (torch.randn(12, 4), torch.randn(12, 4))
    for mask in (None, torch.tensor([[1] * 7 + [0] * 5])):
        ours = in_float64(logits, 4, 2, mask)
        torch.testing.assert_close(ours.float(), plain(logits, 4, 2, mask))
    monkeypatch.setattr(modeling_mixtral, "load_balancing_loss_func", in_float64)


def balanced() -> Any:
    model = experts(
        attn_implementation="sdpa",
        experts_implementation="eager",
        output_router_logits=True,
        router_aux_loss_coef=COEFFICIENT,
    ).double()
    set_exact_norms(model)
    for module in model.modules():
        if isinstance(module, modeling_mixtral.MixtralTopKRouter):
            module.forward = partial(route, module)
    return model


def route(router: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `MixtralTopKRouter`, whose softmax is in float32."""
    logits = linear(states.reshape(-1, router.hidden_dim), router.weight)
    scores, chosen = logits.softmax(-1).topk(router.top_k, dim=-1)
    return logits, scores / scores.sum(-1, keepdim=True), chosen


def adapted() -> Any:
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(balanced(), config).eval()
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)
    return model


MODELS = {"all": balanced, "LoRA": adapted}


def token_losses(output: Any, batch: TaskBatch) -> Tensor:
    """(B, T-1) over the number of supervised tokens."""
    labels = batch.labels[:, 1:]
    losses = cross_entropy(
        output.logits[:, :-1].flatten(0, 1), labels.flatten(), reduction="none"
    ).view(labels.shape)
    return losses / batch.tokens_of_rows().sum()


def row_by_row(model: Any, batch: TaskBatch, places: Tensor) -> list[list[Tensor]]:
    """The gradient of each row's part of the model's loss; `places` also has that of padding."""
    output = model(**batch.inputs)
    config = model.config
    losses = token_losses(output, batch)
    shares, each = shares_of_tokens(
        output.router_logits,
        config.num_local_experts,
        config.num_experts_per_tok,
        batch.inputs.get("attention_mask"),
    )
    balance = (config.num_local_experts * COEFFICIENT * each @ shares.detach()).view(
        len(output.router_logits), -1
    )
    parts = []
    for row in range(len(batch.task_of_row)):
        of_tokens = losses[(batch.row_of_token == row)[:, 1:]].sum()
        part = of_tokens + balance[:, (places == row).flatten()].sum()
        parts.append(torch.autograd.grad(part, trained(model), retain_graph=True))
    return parts


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("exact")
def test_the_part_of_each_row_is_read_and_the_parts_are_the_gradient_of_training(
    kind: str, layout: Any
) -> None:
    model = MODELS[kind]()
    parameters = trained(model)
    v = random_v(parameters)
    batch = layout(make_rows(6, 1), TASKS)
    if layout is in_two_bins:
        assert (batch.row_of_token < 0).any()  # padding that no mask keeps out of the loss
    parts = row_by_row(model, batch, with_padding(batch.row_of_token))
    expected = torch.stack(
        [sum((a * b).sum() for a, b in zip(v, part, strict=True)) for part in parts]
    )
    reader = InBackward(model, parameters, v)
    reader.begin(batch.row_of_token, batch.labels)
    tokens = int(batch.tokens_of_rows().sum())
    output = model(**batch.inputs)
    # The model's own loss, whose token losses are in float32.
    (token_losses(output, batch).sum() + COEFFICIENT * output.aux_loss).backward()
    found = reader.collect(1 / tokens, 6) / tokens
    reader.remove()
    assert relative_error(found, expected) < 1e-9
    whole = [parameter.grad for parameter in parameters]
    assert relative_error([sum(one) for one in zip(*parts, strict=True)], whole) < 1e-9


def test_the_check_sees_a_router_whose_loss_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = balanced().float()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("gate.weight" in name)
    parameters = trained(model)
    batches = [padded(make_rows(2, 1), [0, 1])]
    check = check_estimator(IN_BACKWARD, model, parameters, batches, random_v(parameters), 2)
    assert check.passed
    assert check.max_relative_error < 1e-5

    class Late(InBackward):
        """Whose hooks come after those that keep the outputs of routers."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            register = torch.nn.Module.register_forward_hook
            monkeypatch.setattr(
                torch.nn.Module,
                "register_forward_hook",
                lambda self, hook, prepend=False, **more: register(self, hook, **more),
            )
            super().__init__(*args, **kwargs)
            monkeypatch.setattr(torch.nn.Module, "register_forward_hook", register)

    monkeypatch.setattr(in_backward, "InBackward", Late)
    check = check_estimator(IN_BACKWARD, model, parameters, batches, random_v(parameters), 2)
    assert not check.passed
    assert "off by" in check.reason


def test_padding_belongs_to_the_row_that_it_is_beside() -> None:
    places = torch.tensor([[-1, 0, 0, 1, -1, -1], [2, 2, -1, -1, 3, 3], [-1, -1, -1, -1, -1, -1]])
    assert with_padding(places).tolist() == [
        [0, 0, 0, 1, 1, 1],
        [2, 2, 2, 2, 3, 3],
        [-1, -1, -1, -1, -1, -1],
    ]
