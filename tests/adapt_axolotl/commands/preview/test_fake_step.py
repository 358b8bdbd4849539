"""What is counted on tensors without data is what the allocator hands out in a real step.

Tolerance: 10 %. With a fused loss it may be too high by three gradients of the head: Liger's makes
one anew for each chunk of tokens, and the stand-in for it does not.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plan_memory import LORA, counted
from transformers import Gemma3TextConfig, LlamaConfig, Qwen3Config

from adapt_axolotl.commands.preview.fake_step import StepShape, step_bytes

SIZES: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
CONFIGS = {
    "qwen3": Qwen3Config(tie_word_embeddings=True, **SIZES),
    "llama": LlamaConfig(tie_word_embeddings=False, **SIZES),
    "gemma3": Gemma3TextConfig(**SIZES),
}


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"checkpointing": True},
        {"lora": LORA, "checkpointing": True},
        {"fused_loss": True, "checkpointing": True},
        {"dtype": torch.bfloat16, "accumulates": True},
    ],
    ids=["full", "checkpointed", "lora", "fused", "bfloat16, accumulates"],
)
def test_a_step_without_data_holds_what_a_real_one_does(family: str, keys: dict[str, Any]) -> None:
    shape = StepShape(4, 256, **{"dtype": torch.float32, **keys})
    expected = counted(CONFIGS[family], shape)
    found = step_bytes(CONFIGS[family], shape).step
    more = 3 * 4 * 2048 * 128 if shape.fused_loss else 0
    assert 0.9 * expected < found < 1.1 * expected + more


def test_the_weights_are_those_of_the_model_and_tied_ones_are_one() -> None:
    shape = StepShape(1, 8, torch.float32)
    tied, untied = (step_bytes(CONFIGS[name], shape) for name in ("qwen3", "llama"))
    head = 4 * 2048 * 128
    assert untied.trained - tied.trained == pytest.approx(head, rel=0.01)
    adapted = step_bytes(CONFIGS["qwen3"], StepShape(1, 8, torch.bfloat16, lora=LORA))
    assert adapted.trained == 4 * adapted.trained_weights  # PEFT keeps adapters in float32
    linear = 2 * adapted.frozen_linear_weights
    assert adapted.frozen_linear == linear
    assert linear + adapted.other_frozen == pytest.approx(tied.trained / 2, rel=0.01)
    assert tied.largest_layer == head
