"""Adapters on a base of 4 or 8 bits (bitsandbytes, on a CPU): what reads the gradients of training
agrees with the reference to 1e-4 of the largest score."""

from __future__ import annotations

import bitsandbytes
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.estimators import estimator
from adapt_axolotl.metagradient.left_out import without_rule
from adapt_axolotl.metagradient.per_task import per_task_scores
from tests.support.models import make_model, make_rows, padded, relative_error, trained

TASKS = [0, 1, 2, 0, 3, 1]


def in_4_bits(layer: nn.Linear) -> nn.Module:
    made = bitsandbytes.nn.Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=torch.float32
    )
    made.weight = bitsandbytes.nn.Params4bit(layer.weight.data, requires_grad=False)
    return made.to("cpu")


def in_8_bits(layer: nn.Linear) -> nn.Module:
    made = bitsandbytes.nn.Linear8bitLt(
        layer.in_features, layer.out_features, bias=False, has_fp16_weights=False
    )
    made.weight = bitsandbytes.nn.Int8Params(
        layer.weight.data, requires_grad=False, has_fp16_weights=False
    )
    return made.to("cpu")


KINDS = {4: in_4_bits, 8: in_8_bits}


def adapted(bits: int, *, dora: bool = False) -> nn.Module:
    model = make_model("llama", hidden_size=128, intermediate_size=256, head_dim=64)
    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, KINDS[bits](child))
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = bits == 4, bits == 8  # what PEFT asks
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], use_dora=dora)
    # In evaluation mode bitsandbytes lays 4-bit weights out for a CPU's inference.
    model = get_peft_model(model, config).train()
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def errors(model: nn.Module, *names: str) -> list[float]:
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    return [
        relative_error(
            estimator(name).scores(model, parameters, batches, v, 4).inner_products, expected
        )
        for name in names
    ]


@pytest.mark.parametrize("bits", KINDS)
def test_adapters_on_a_quantised_base_are_read(bits: int) -> None:
    model = adapted(bits)
    assert without_rule(model, trained(model)).modules == []
    assert max(errors(model, "in_backward", "split_batches")) < 1e-4


def test_dora_on_a_base_of_4_bits_is_split_by_task() -> None:
    model = adapted(4, dora=True)
    assert without_rule(model, trained(model)).modules
    assert errors(model, "split_batches")[0] < 1e-4
