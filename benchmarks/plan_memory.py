"""How far off the training step is that `adapt-axolotl plan --gpu` counts on tensors without data.

    python benchmarks/plan_memory.py

The same step is run with data, on a CPU, and its peak counted by the allocator
(`allocated_bytes.py`), both beyond the weights. The fused loss is `fused_loss.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from allocated_bytes import peak_bytes
from fused_loss import train_by_fused_loss
from transformers import Gemma3TextConfig, LlamaConfig, PretrainedConfig, Qwen3Config

from adapt_axolotl.commands.preview.fake_step import StepShape, step_bytes

COMMON: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
LORA = {"r": 8, "target_modules": "all-linear"}
BFLOAT16 = torch.bfloat16
CONFIGS = {
    "Qwen3": Qwen3Config(vocab_size=151_936, tie_word_embeddings=True, **COMMON),
    "Llama": LlamaConfig(vocab_size=32_000, tie_word_embeddings=False, **COMMON),
    "Gemma 3": Gemma3TextConfig(vocab_size=262_144, **COMMON),
}
STEPS: dict[str, dict[str, Any]] = {
    "full": {},
    "full, bfloat16, two micro-batches": {"dtype": BFLOAT16, "accumulates": True},
    "full, checkpointed, fused loss": {"checkpointing": True, "fused_loss": True},
    "LoRA, checkpointed": {"lora": LORA, "checkpointing": True},
    "LoRA, checkpointed, fused loss": {"lora": LORA, "checkpointing": True, "fused_loss": True},
}
MIB = 2**20


def main() -> None:
    print("Widths of 128, 6 layers; 2 rows of 128 tokens a micro-batch; float32 but where said")
    print("| model | vocabulary | training step | counted, MiB | estimated, MiB | ratio |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for model, config in CONFIGS.items():
        for name, keys in STEPS.items():
            shape = StepShape(2, 128, **{"dtype": torch.float32, **keys})
            found, expected = step_bytes(config, shape).step, counted(config, shape)
            print(
                f"| {model} | {config.vocab_size:,} | {name} | {expected / MIB:.0f} "
                f"| {found / MIB:.0f} | {found / expected:.2f} |",
                flush=True,
            )


def counted(config: PretrainedConfig, shape: StepShape) -> int:
    """Bytes of a step with data, beyond the weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation=shape.attention, dtype=shape.dtype
    )
    model.config.use_cache = False
    if shape.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if shape.lora is not None:
        model = get_peft_model(model, LoraConfig(**shape.lora))
    if shape.fused_loss:
        train_by_fused_loss(model)
    model.train()
    ids = torch.randint(3, config.vocab_size, (shape.sequences, shape.tokens))

    def step() -> None:
        loss = model(input_ids=ids, labels=ids)
        if not shape.fused_loss:
            loss = loss.loss  # and the logits are let go, as Trainer does
        loss.backward()

    if shape.accumulates:
        step()
        held = sum(one.grad.nbytes for one in model.parameters() if one.grad is not None)
        return held + peak_bytes(step)
    return peak_bytes(step)


if __name__ == "__main__":
    main()
