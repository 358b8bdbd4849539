"""Measuring sees the model without dropout, keeps its memory low, and leaves no trace."""

from __future__ import annotations

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.direction import direction
from tests.support.models import FAMILIES, make_model, make_rows, padded, trained

BATCHES = [padded(make_rows(6, 1), [0, 1, 2, 0, 3, 1])]
WEIGHTS = torch.full((4,), 0.25)


def v_of(model: torch.nn.Module) -> list[torch.Tensor]:
    with evaluation_mode(model):
        return direction(model, trained(model), BATCHES, WEIGHTS).v


def forwards_in(layer: torch.nn.Module, model: torch.nn.Module) -> int:
    """How often a layer's attention runs while v is taken."""
    calls = []
    handle = layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    v_of(model)
    handle.remove()
    return len(calls)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_that_training_checkpoints_are_checkpointed(family: str, reentrant: bool) -> None:
    plain = make_model(family)
    model = make_model(family, attention_dropout=0.5)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.train()
    layer = model.model.layers[0]
    function = layer._gradient_checkpointing_func
    assert forwards_in(plain.model.layers[0], plain) == 1
    assert forwards_in(layer, model) == 2
    for found, expected in zip(v_of(model), v_of(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert layer._gradient_checkpointing_func is function
    assert all(module.training for module in model.modules())


def test_a_layer_with_dropout_of_its_own_is_left_in_evaluation_mode() -> None:
    config = OPTConfig(
        vocab_size=61,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        word_embed_proj_dim=32,
        max_position_embeddings=64,
        dropout=0.5,
    )
    model = OPTForCausalLM(config).train()
    model.gradient_checkpointing_enable()
    for one, other in zip(v_of(model), v_of(model), strict=True):
        assert torch.equal(one, other)
