"""Mamba, linear attention and short convolutions are differentiated again for each row, with all
that is inside of them.

Tolerances, relative to the largest score: 1e-9 in float64, 1e-4 in float32.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache

from adapt_axolotl.metagradient.by_rows import Call, mixes_tokens, shares_of_rows
from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.metagradient.left_out import without_rule
from adapt_axolotl.metagradient.owners import owners_of
from adapt_axolotl.metagradient.per_task import per_task_scores
from benchmarks.tiny_families import tiny_model
from tests.support.layouts import LAYOUTS
from tests.support.mixers import ShortConv, mixing
from tests.support.models import (
    make_rows,
    packed,
    padded,
    random_v,
    read_in_backward,
    relative_error,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]


def fully_read() -> Any:
    model = mixing()
    model.temper.requires_grad_(False)
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mixer_is_read_exactly_where_rows_are_apart(layout: Any) -> None:
    model = fully_read()
    parameters = trained(model)
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    assert without_rule(model, parameters).modules == []
    found = read_in_backward(model, parameters, batches, v, scale=0.37).inner_products
    assert relative_error(found, expected) < 1e-9


@pytest.mark.parametrize(
    "family", ["lfm2", "granitemoehybrid", "qwen3_5", "qwen3_next", "falcon_h1"]
)
@pytest.mark.parametrize("training", [False, True])
def test_families_are_read_along_all_that_is_trained(family: str, training: bool) -> None:
    torch.manual_seed(6)
    model = tiny_model(family).train(training)
    model.config.use_cache = False
    parameters = trained(model)
    assert without_rule(model, parameters).modules == []
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v).inner_products
    assert relative_error(found, expected) < 1e-4


def test_adapters_inside_are_read_by_token() -> None:
    """Which costs a product, not another backward."""
    config = LoraConfig(r=2, target_modules=["in_proj", "out_proj"])
    model = get_peft_model(tiny_model("lfm2"), config)
    assert any(mixes_tokens(module) for module in model.modules())
    owners = owners_of(model, trained(model))
    assert owners
    assert not any(mixes_tokens(module) for module in owners.values())
    assert all("lora_" in name for name in owners)


def test_a_cache_that_the_forward_filled_is_not_gone_on_with() -> None:
    call = Call([torch.ones(1, 3, 2)], {"past_key_values": DynamicCache(), "scale": 2.0})
    given: dict[str, Any] = {}
    call.again(lambda x, **keys: given.update(keys), call.tensors)
    assert given == {"past_key_values": None, "scale": 2.0}


def test_positions_along_several_axes_are_cut_by_row() -> None:
    torch.manual_seed(0)
    mixer = ShortConv().double()
    batch = packed(make_rows(3, 1), [0, 1, 2])
    positions = batch.inputs["position_ids"]
    x, b = torch.randn(2, *positions.shape, 16, dtype=torch.float64)
    parts = {name: torch.randn_like(one) for name, one in mixer.named_parameters()}

    class OfAxes:
        def __call__(self, states: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
            return ShortConv.forward(mixer, states, axes[0])

    expected = shares_of_rows(
        mixer, parts, Call([x, positions], {}), [x, positions], [b], batch.row_of_token
    )
    axes = positions.expand(3, -1, -1)
    mixer.forward = OfAxes()  # type: ignore[method-assign]
    found = shares_of_rows(mixer, parts, Call([x, axes], {}), [x, axes], [b], batch.row_of_token)
    assert expected is not None
    assert found is not None
    assert torch.equal(found, expected)
    assert int((found != 0).sum()) == 3


def test_one_that_drops_numbers_as_it_trains_is_not_run_again() -> None:
    model = tiny_model("lfm2")
    config = LoraConfig(r=2, target_modules=["in_proj"], lora_dropout=0.1)
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "conv.conv.weight" in name:
            parameter.requires_grad_(True)
    left = without_rule(model, trained(model)).modules
    assert left
    assert all(name.endswith("conv.conv") for name in left)


def test_random_numbers_of_training_stay_the_same() -> None:
    torch.manual_seed(0)
    noisy = NoisyExperts()
    batch = padded(make_rows(6, 1), TASKS)
    x, b = torch.randn(2, *batch.row_of_token.shape, 4)
    parts = {name: torch.randn_like(one) for name, one in noisy.named_parameters()}
    before = torch.random.get_rng_state()
    assert shares_of_rows(noisy, parts, Call([x], {}), [x], [b], batch.row_of_token) is not None
    assert torch.equal(torch.random.get_rng_state(), before)


class NoisyExperts(torch.nn.Module):
    """Draws at each call, as a router with jitter does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * torch.rand(())


def test_training_is_the_same_to_the_bit() -> None:
    gradients = []
    for reads in (False, True):
        model = fully_read()
        parameters = trained(model)
        reader = InBackward(model, parameters, random_v(parameters)) if reads else None
        batch = padded(make_rows(6, 1), TASKS)
        if reader is not None:
            reader.begin(batch.row_of_token, batch.labels)
        model(**batch.inputs).logits.square().sum().backward()
        if reader is not None:
            reader.collect(1.0, 6)
            reader.remove()
        gradients.append([parameter.grad for parameter in parameters])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
