"""What in each of Axolotl's example YAMLs decides how its gradient products are estimated.

The family of its base model (by name, so that nothing is downloaded), what of it is trained, and
what stands between the modules and the hooks that read them. Nothing else of a YAML is kept.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.integration.compat import AxolotlConfigWCapabilities
from adapt_axolotl.recipe.refusals import (
    BRING_A_TRAINER,
    SHARED_ROWS,
    refuse_fsdp1,
    refuse_layers_in_turns,
    refuse_offloaded_parameters,
    refuse_spread_experts,
)

# A pattern of base_model's name -> Transformers' name of the family; the first that is found.
FAMILIES = (
    (r"btlm|Cerebras-GPT", "gpt2"),
    (r"replit|mpt", "mpt"),
    (r"dbrx", "dbrx"),
    (r"Falcon-H1", "falcon_h1"),
    (r"Falcon-E", "llama"),
    (r"falcon", "falcon"),
    (r"gpt-j", "gptj"),
    (r"pythia|RedPajama", "gpt_neox"),
    (r"stablelm", "stablelm"),
    (r"starcoder2", "starcoder2"),
    (r"North-Micro-Vision", "cohere_compass"),
    (r"command-r7b", "cohere2"),
    (r"DeepSeek-V4", "deepseek_v4"),
    (r"DeepSeek-V2", "deepseek_v2"),
    (r"gemma-2", "gemma2"),
    (r"gemma-3n", "gemma3n"),
    (r"gemma-3-(1b|270m)", "gemma3_text"),
    (r"gemma-3-", "gemma3"),
    (r"gemma-4-12B", "gemma4_unified"),
    (r"[gG]emma-4", "gemma4"),
    (r"gemma-7b", "gemma"),
    (r"GLM-4-32B", "glm4"),
    (r"GLM-4\.5", "glm4_moe"),
    (r"GLM-4\.6V", "glm46v"),
    (r"GLM-4\.7-Flash", "glm4_moe_lite"),
    (r"GLM-5", "glm_moe_dsa"),
    (r"gpt-oss", "gpt_oss"),
    (r"granite-4\.0", "granitemoehybrid"),
    (r"Hunyuan", "hunyuan_v1_dense"),
    (r"InternVL", "internvl"),
    (r"Jamba", "jamba"),
    (r"Kimi-Linear", "kimi_linear"),
    (r"Ling-3", "bailing_hybrid"),
    (r"LFM2-8B", "lfm2_moe"),
    (r"LFM2-VL", "lfm2_vl"),
    (r"LFM2", "lfm2"),
    (r"Apertus", "apertus"),
    (r"AFM", "arcee"),
    (r"Trinity", "afmoe"),
    (r"Llama-4", "llama4"),
    (r"Llama-3\.2-11B-Vision", "mllama"),
    (r"llava", "llava"),
    (r"mamba", "mamba"),
    (r"MiMo", "qwen2"),
    (r"MiniMax-M2", "minimax_m2"),
    (r"Ministral-3|Shieldstral", "mistral3"),
    (r"Mistral-Small-4", "mistral4"),
    (r"Mistral-Medium-3\.5", "mistral3"),
    (r"Mistral-Small-3|Magistral-Small-2509", "mistral3"),
    (r"Ministral-8B", "mistral"),
    (r"Mixtral", "mixtral"),
    (r"pixtral", "llava"),
    (r"Voxtral", "voxtral"),
    (r"Mistral|Devstral|Magistral", "mistral"),
    (r"Muse-Glimmer", "muse_glimmer"),
    (r"Nemotron-Mini", "nemotron"),
    (r"Nemotron-3", "nemotron_h"),
    (r"Olmo-3", "olmo3"),
    (r"PaddleOCR", "paddleocr_vl"),
    (r"Phi-3", "phi3"),
    (r"phi", "phi"),
    (r"Qwen1\.5-MoE", "qwen2_moe"),
    (r"Qwen3\.8-Flash-Next", "qwen4_exp"),
    (r"Qwen3\.[58].*A\d+B", "qwen3_5_moe"),
    (r"Qwen3\.[58]", "qwen3_5"),
    (r"Qwen3-Next", "qwen3_next"),
    (r"Qwen3.*A3B", "qwen3_moe"),
    (r"[qQ]wen3|Plano|Skywork", "qwen3"),
    (r"Qwen2\.5-VL", "qwen2_5_vl"),
    (r"Qwen2-VL", "qwen2_vl"),
    (r"[qQ]wen-14B|Qwen2|DeepCoder", "qwen2"),
    (r"Qwen/Qwen-7B", "qwen"),
    (r"Seed-OSS", "seed_oss"),
    (r"SmolVLM", "smolvlm"),
    (r"[lL]lama|Yi-34B|SmolLM2|xgen|orpheus", "llama"),
)
KERNELS = ("lora_qkv_kernel", "lora_o_kernel", "lora_mlp_kernel", "lora_embedding_kernel")
_CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"


def recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """YAML by its path in the folder, of those that train a model."""
    found = {}
    for file in sorted([*folder.rglob("*.yml"), *folder.rglob("*.yaml")]):
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(raw, dict) and "base_model" in raw:
            found[file.relative_to(folder).as_posix()] = raw
    return found


def other_than_sft(raw: Mapping[str, Any]) -> str | None:
    """What it trains where that is not supervised fine-tuning."""
    for key in ("rl", "reward_model", "process_reward_model", "pretraining_dataset", "diffusion"):
        if raw.get(key):
            return key
    return None


def refused(raw: Mapping[str, Any]) -> str | None:
    """The key for which any task mixture is refused."""
    for key in SHARED_ROWS:
        if (raw.get(key) or 1) > 1:
            return key
    for key in ("streaming", "group_by_length", "curriculum_sampling"):
        if raw.get(key):
            return key
    if any(BRING_A_TRAINER.get(plugin, "") is None for plugin in raw.get("plugins") or []):
        return "plugins"
    if raw.get("skip_prepare_dataset"):
        return "skip_prepare_dataset"  # images or sound: rows become tokens in the collator only
    return _key_of(refuse_fsdp1, raw)


def products_refused(raw: Mapping[str, Any]) -> str | None:
    """The key for which gradient products are refused, and other measures are not."""
    refuses = (refuse_offloaded_parameters, refuse_layers_in_turns, refuse_spread_experts)
    return next((key for one in refuses if (key := _key_of(one, raw))), None)


def _key_of(refuse: Callable[[Mapping[str, Any]], None], raw: Mapping[str, Any]) -> str | None:
    """The key that its sentence begins with."""
    try:
        refuse(raw)
    except ValueError as error:
        return str(error).partition(":")[0]
    return None


def sharding(raw: Mapping[str, Any]) -> str | None:
    """How it spreads parameters over processes."""
    if raw.get("fsdp") or raw.get("fsdp_config"):
        config = raw.get("fsdp_config") or {}
        version = raw.get("fsdp_version") or config.get("fsdp_version") or 1
        return f"fsdp{version}"
    return "deepspeed" if raw.get("deepspeed") else None


def features(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What decides about the estimator; values that are off are left out.

    Raises:
        ValueError: the name of the base model is of no known family.
    """
    name = str(raw["base_model"])
    name = "Qwen3-8B" if name.startswith("./outputs/qwen3") else name
    family = next((family for pattern, family in FAMILIES if re.search(pattern, name)), None)
    if family is None:
        raise ValueError(f"base_model: {name} is of no known family; add it to FAMILIES")
    found: dict[str, Any] = {"family": family}
    if raw.get("adapter"):
        found["adapter"] = "lora"  # the frozen weights' bits change nothing that is read
        found["targets"] = _targets(raw)
        found["target_parameters"] = raw.get("lora_target_parameters")
        found["modules_to_save"] = raw.get("lora_modules_to_save")
        found["dora"] = bool(raw.get("peft_use_dora"))
        found["kernels"] = _kernels(raw, family)
    else:
        found["unfrozen"] = raw.get("unfrozen_parameters")
    cut = _CUT in (raw.get("plugins") or []) and raw.get("cut_cross_entropy") is not False
    found["fused_loss"] = bool(cut or raw.get("liger_fused_linear_cross_entropy"))
    found["fused_attention"] = bool(raw.get("fused_attn_kernel"))
    found["router_loss"] = bool((raw.get("model_config") or {}).get("output_router_logits"))
    found["qat"] = _qat(raw)
    found["other_loss"] = bool(raw.get("use_eaft"))
    found["compiled"] = bool(raw.get("torch_compile"))
    attention = raw.get("attn_implementation") == "flex_attention" or raw.get("flex_attention")
    found["flex_attention"] = bool(attention)
    found["sharded"] = sharding(raw) == "fsdp2"
    found["zero3"] = "zero3" in str(raw.get("deepspeed"))
    return {key: value for key, value in found.items() if value}


def _targets(raw: Mapping[str, Any]) -> list[str] | str:
    """`lora_target_modules`; `all-linear` where `lora_target_linear` is set."""
    names = raw.get("lora_target_modules") or []
    if raw.get("lora_target_linear") and not isinstance(names, str):
        return "all-linear"
    return names if isinstance(names, str) else sorted(names)


def _kernels(raw: Mapping[str, Any], family: str) -> list[str]:
    """LoRA kernels on one GPU, those that Axolotl switches on by itself among them."""
    asked = {**copy.deepcopy(dict(raw)), "model_config_type": family}
    asked["env_capabilities"] = {"torch_version": "2.11.0"}
    resolved = AxolotlConfigWCapabilities.check_auto_enable_lora_kernels(asked)
    return [name for name in KERNELS if resolved.get(name)]


def _qat(raw: Mapping[str, Any]) -> str | None:
    if raw.get("fp8"):
        return "fp8"
    if raw.get("use_onebitllms"):
        return "onebit"
    return (raw.get("qat") or {}).get("weight_dtype")
