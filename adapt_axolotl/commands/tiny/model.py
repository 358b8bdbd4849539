"""The config of a small Qwen3: 0.4 million parameters, no weights.

Recipes make the weights from the config with `reinit_weights: true`, seeded.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast, Qwen3Config

from adapt_axolotl.commands.tiny.tokenizer import CONTEXT, VOCABULARY


def write_model(directory: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write `config.json` and the tokenizer's files."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(directory))
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        # Qwen3's own .02 suits its width of thousands: at a width of 96 the model then needs three
        # times the steps before it can copy a letter (measured on the made tasks).
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
    )
    config.save_pretrained(str(directory))
