"""What stops a recipe on this machine though another one would train it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from adapt_axolotl.integration.compat import AxolotlConfigWCapabilities


def lora_kernel_obstacle(lora_mlp_kernel: Any) -> str | None:
    """Of Axolotl's LoRA kernels that of the MLP layers runs on CUDA only: the first training step
    ends with "Torch not compiled with CUDA enabled". The others run anywhere.

    Args:
        lora_mlp_kernel: as Axolotl resolves it.
    """
    if not lora_mlp_kernel or torch.cuda.is_available():
        return None
    return (
        "lora_mlp_kernel: it is on (with LoRA, Axolotl switches it on by itself) and needs CUDA, "
        "which this machine does not have; to train here set lora_mlp_kernel: false, which also "
        "keeps Axolotl from switching on lora_qkv_kernel, lora_o_kernel and lora_embedding_kernel"
    )


def deepspeed_obstacle(deepspeed: Any, environment: Mapping[str, str]) -> str | None:
    """Axolotl loads and prepares a model by the recipe's key, and knows nothing of what `accelerate
    launch` reads from its own saved config: parameters may be sharded where they seem whole.

    Args:
        deepspeed: the recipe's key.
        environment: of a launched process.
    """
    if deepspeed or environment.get("ACCELERATE_USE_DEEPSPEED", "false") != "true":
        return None
    return (
        "deepspeed: it is on in accelerate's own config (accelerate config, --use_deepspeed) and "
        "the recipe does not have it; with a learned mixture write deepspeed: with the path of a "
        "DeepSpeed JSON into the recipe, or launch without it (axolotl train --launcher torchrun)"
    )


def resolved_lora_mlp_kernel(recipe: Mapping[str, Any]) -> Any:
    """What Axolotl makes of the key in a raw recipe."""
    asked = {**recipe, "env_capabilities": {"torch_version": torch.__version__.partition("+")[0]}}
    return AxolotlConfigWCapabilities.check_auto_enable_lora_kernels(asked).get("lora_mlp_kernel")
