"""A tiny model of every family in Axolotl's example YAMLs, with random weights: the classes are
those that are trained, the sizes are not.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    VoxtralForConditionalGeneration,
)

VOCABULARY = 64
HIDDEN = 32
HEADS = 4

# Whatever of these a config has, its parts included, is made small.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "d_model": HIDDEN,
    "n_embd": HIDDEN,
    "intermediate_size": 64,
    "ffn_hidden_size": 64,
    "mamba_chunk_size": 8,
    "num_hidden_layers": 2,
    "n_layers": 2,
    "n_layer": 2,
    "num_attention_heads": HEADS,
    "n_heads": HEADS,
    "n_head": HEADS,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 8,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "max_seq_len": 64,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "top_k_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "depth": 1,
    "embed_dim": HIDDEN,
    "num_heads": HEADS,
    "out_hidden_size": HIDDEN,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE = {**ROPE, "mrope_section": [1, 1, 2]}

# What a family's code reads and its default config lacks, or has for other sizes; of the text part.
OWN: dict[str, dict[str, Any]] = {
    "cohere_compass": {"rope_parameters": {"full_attention": ROPE}},
    "afmoe": {"num_dense_layers": 1},
    "deepseek_v4": {
        "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention"],
        "mlp_layer_types": ["hash_moe", "moe"],
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_vl": {"layer_types": ["conv", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_moe": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen4_exp": {
        "layer_types": ["linear_attention", "qwen_sparse_attention"],
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    "deepseek_v2": {"num_key_value_heads": HEADS, "num_experts_per_tok": 2},
    "gemma3n": {
        "intermediate_size": [48, 48],
        "layer_types": ["sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.0, 0.0],
        "num_kv_shared_layers": 0,
    },
    "glm4_moe_lite": {"num_key_value_heads": HEADS, "mlp_layer_types": ["dense", "sparse"]},
    "glm_moe_dsa": {"num_key_value_heads": HEADS, "mlp_layer_types": ["dense", "sparse"]},
    "mistral4": {"num_key_value_heads": HEADS, "head_dim": 16},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {
        "layer_types": ["linear_attention", "full_attention"],
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "nemotron": {"num_key_value_heads": 2},
    "glm46v": {"rope_parameters": MROPE},
    "paddleocr_vl": {"rope_parameters": MROPE},
    "qwen2_vl": {"rope_parameters": MROPE},
    "qwen2_5_vl": {"rope_parameters": MROPE},
}
# Whose other parts need a package that is not needed to train on text.
TEXT_ALONE = {"gemma3n": "gemma3n_text"}


def tiny_model(family: str, *, seed: int = 0) -> PreTrainedModel:
    """In evaluation mode, float32.

    Raises:
        ValueError: Transformers has no such family, so its code is a model repository's.
    """
    try:
        config = tiny_config(family)
    except (KeyError, ValueError) as error:
        raise ValueError(f"no {family} in Transformers") from error
    torch.manual_seed(seed)
    try:
        model = AutoModelForCausalLM.from_config(config)
    except ValueError:
        audio = family == "voxtral"
        of = VoxtralForConditionalGeneration if audio else AutoModelForImageTextToText
        model = of(config) if audio else of.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter += 0.02 * torch.randn_like(parameter)
    return model.float().eval()


def tiny_config(family: str) -> PretrainedConfig:
    config = AutoConfig.for_model(TEXT_ALONE.get(family, family))
    _shrink(config)
    text = config.get_text_config()
    for name, value in OWN.get(family, {}).items():
        setattr(text, name, value)
    if family == "dbrx":
        config.attn_config.rope_theta, config.attn_config.clip_qkv = 10000.0, 8.0
    return config


def _shrink(config: PretrainedConfig) -> None:
    for name, size in SIZES.items():
        # Some are computed, or differ from layer to layer: these stay.
        with contextlib.suppress(Exception):
            if getattr(config, name, None) is not None:
                setattr(config, name, size)
    for value in vars(config).values():
        if isinstance(value, PretrainedConfig):
            _shrink(value)
