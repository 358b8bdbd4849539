"""Runs of which processes share parameters or the optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.launch import history, recipe, train

FSDP2 = {
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "Qwen3DecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
    },
}
LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_linear": True,
    # These need CUDA.
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
}


def weights_of(run: Path) -> dict[str, Any]:
    """Keys of a recipe that goes on from a run's weights: ZeRO-3 draws random ones in another
    order than one process."""
    return {"base_model": str(run), "reinit_weights": False}


def train_with_deepspeed(
    tiny: Path,
    folder: Path,
    stage: int,
    environment: Mapping[str, str] | None = None,
    *,
    estimator: str = "in_backward",
    **changes: Any,
) -> None:
    """Two processes, two micro-batches each; asserts the estimator of every meta step."""
    zero: dict[str, Any] = {"stage": stage}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
        # Otherwise it leaves what is small whole, which is all of so small a model.
        zero["stage3_param_persistence_threshold"] = 0
    deepspeed = {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
    }
    config = recipe(
        tiny,
        folder,
        gradient_accumulation_steps=2,
        deepspeed=deepspeed,
        **changes,
    )
    train(config, folder, processes=2, shim="deepspeed_on_cpu.py", environment=environment)
    assert all(line["estimator"] == estimator for line in history(folder))
