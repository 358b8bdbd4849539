"""Every name that is imported from Axolotl, Trainer, DeepSpeed and TRL, and how it is used.

Most of these are internals that may change in any release. `installed.py` compares what is there
with these tables before a run starts, so that a change stops it with a sentence instead of training
something else. `compat.py` is where the names are imported from.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Used:
    """A name that is used.

    Attributes:
        module: where it is.
        name: of a function, class or value.
        parameters: those that it is called with, by name or in this order.
        methods: of a class, method -> parameters, beside self: called or overridden here.
        needs: a package without which Axolotl has it as little as we do.
    """

    module: str
    name: str
    parameters: tuple[str, ...] = ()
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: str = ""


_LORA_KERNELS = "axolotl.monkeypatch.lora_kernels"

NAMES = (
    # A run: the plugin, its trainer and what they hand over.
    Used(
        "axolotl.integrations.base",
        "BasePlugin",
        methods={
            "register": ("cfg",),
            "get_input_args": (),
            "get_training_args": ("cfg",),
            "load_datasets": ("cfg", "preprocess"),
            "pre_model_load": ("cfg",),
            "get_trainer_cls": ("cfg",),
            "post_trainer_create": ("cfg", "trainer"),
        },
    ),
    Used("axolotl.integrations.base", "PluginManager", methods={"get_instance": ()}),
    Used(
        "axolotl.core.trainers.base",
        "AxolotlTrainer",
        methods={
            "_get_train_sampler": ("train_dataset",),
            "get_train_dataloader": (),
            "train": ("resume_from_checkpoint",),
            "training_step": ("model", "inputs", "num_items_in_batch"),
            "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
            "create_scheduler": ("num_training_steps", "optimizer"),
            "_save_checkpoint": ("model", "trial"),
            "_get_output_dir": ("trial",),
            "_load_from_checkpoint": ("resume_from_checkpoint",),
            "create_optimizer": (),
            "log": ("logs",),
            "evaluate": ("eval_dataset", "ignore_keys", "metric_key_prefix"),
            "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
            "add_callback": ("callback",),
        },
    ),
    Used(
        "axolotl.common.datasets",
        "TrainDatasetMeta",
        ("train_dataset", "eval_dataset", "total_num_steps"),
    ),
    Used("axolotl.train", "setup_model_and_trainer", ("cfg", "dataset_meta")),
    Used("axolotl.utils.distributed", "barrier"),
    Used("axolotl.utils.logging", "get_logger", ("name",)),
    # Reading a recipe.
    Used("axolotl.cli.config", "prepare_plugins", ("cfg",)),
    Used("axolotl.utils.config", "normalize_config", ("cfg",)),
    Used("axolotl.utils.config", "normalize_cfg_datasets", ("cfg",)),
    Used("axolotl.utils.config", "resolve_dtype", ("cfg",)),
    Used("axolotl.utils.config", "validate_config", ("cfg", "capabilities", "env_capabilities")),
    Used("axolotl.utils.dict", "DictDefault"),
    Used("axolotl.utils.schemas.config", "AxolotlInputConfig"),
    Used(
        "axolotl.utils.schemas.config",
        "AxolotlConfigWCapabilities",
        methods={"check_auto_enable_lora_kernels": ("data",)},
    ),
    Used("axolotl.utils.schemas.datasets", "SFTDataset"),
    # Reading rows.
    Used("axolotl.common.const", "DEFAULT_DATASET_PREPARED_PATH"),
    Used("axolotl.loaders", "load_tokenizer", ("cfg",)),
    Used(
        "axolotl.utils.data.lock",
        "FileLockLoader",
        ("cfg",),
        {"load": ("load_fn",), "cleanup": ()},
    ),
    Used("axolotl.utils.data.shared", "datasets_with_name_generator", ("dataset_configs",)),
    Used(
        "axolotl.utils.data.shared",
        "generate_dataset_hash_from_config",
        ("cfg", "cfg_datasets", "tokenizer_name"),
    ),
    Used("axolotl.utils.data.shared", "get_dataset_type", ("dataset_config",)),
    Used(
        "axolotl.utils.data.shared",
        "load_dataset_with_config",
        ("dataset_config", "use_auth_token"),
    ),
    Used(
        "axolotl.utils.data.utils",
        "handle_long_seq_in_dataset",
        ("dataset", "sequence_len", "cfg"),
    ),
    Used("axolotl.utils.data.wrappers", "DATASET_HANDLERS"),
    Used(
        "axolotl.utils.data.wrappers",
        "get_dataset_wrapper",
        (
            "dataset_config",
            "tokenizer",
            "cfg",
            "dataset_base_type",
            "dataset",
            "dataset_prompt_style",
        ),
    ),
    Used(
        "axolotl.utils.trainer",
        "process_datasets_for_packing",
        ("cfg", "train_dataset", "eval_dataset"),
    ),
    # Trainer.
    Used("transformers", "set_seed", ("seed",)),
    Used(
        "transformers",
        "TrainerCallback",
        methods=dict.fromkeys(
            (
                "on_train_begin",
                "on_step_begin",
                "on_optimizer_step",
                "on_step_end",
                "on_epoch_end",
                "on_train_end",
            ),
            ("args", "state", "control"),
        ),
    ),
    Used(
        "transformers",
        "EarlyStoppingCallback",
        methods={"on_evaluate": ("args", "state", "control", "metrics")},
    ),
    Used("transformers", "TrainerControl"),
    Used("transformers", "TrainerState"),
    Used("transformers", "TrainingArguments"),
    Used("transformers.trainer_callback", "ProgressCallback"),
    Used("transformers.modeling_layers", "GradientCheckpointingLayer"),
    Used("transformers.integrations.deepspeed", "is_deepspeed_zero3_enabled"),
    Used(
        "accelerate",
        "Accelerator",
        methods={"optimizer_step_was_skipped": (), "is_fsdp2": ()},
    ),
    # Kernels that go around modules, and their plain forms.
    Used("axolotl.kernels.lora", "apply_lora_mlp_swiglu", ("self", "X"), needs="triton"),
    Used("axolotl.kernels.lora", "apply_lora_mlp_geglu", ("self", "X"), needs="triton"),
    Used("axolotl.kernels.lora", "apply_lora_embedding", ("self", "x"), needs="triton"),
    Used(_LORA_KERNELS, "original_apply_qkv", ("self", "hidden_states"), needs="triton"),
    Used(_LORA_KERNELS, "original_apply_qkv_optional_v", ("self", "hidden_states"), needs="triton"),
    Used(_LORA_KERNELS, "original_apply_o", ("self", "hidden_states"), needs="triton"),
    # ZeRO-3.
    Used("accelerate.utils.deepspeed", "HfDeepSpeedConfig", (), {"get_value": ("ds_key_long",)}),
)

# Keys of a recipe that are read from Axolotl's validated config, which gives None for a key that
# it does not know: a renamed one would change what is trained without an error.
RECIPE_KEYS = (
    "attn_implementation",
    "auto_resume_from_checkpoints",
    "base_model",
    "dataset_exact_deduplication",
    "dataset_num_proc",
    "dataset_prepared_path",
    "datasets",
    "deepspeed",
    "eval_sample_packing",
    "eval_sequence_len",
    "excess_length_strategy",
    "gradient_accumulation_steps",
    "hf_use_auth_token",
    "lora_mlp_kernel",
    "max_steps",
    "metric_for_best_model",
    "micro_batch_size",
    "min_sample_len",
    "multipack_real_batches",
    "output_dir",
    "sample_packing",
    "seed",
    "sequence_len",
    "test_datasets",
    "torch_compile",
)
# The same, of values that the config computes.
COMPUTED_KEYS = ("attn_supports_packing",)

# The same, of the configs of plugins: (module, class, keys).
PLUGIN_KEYS = (
    ("axolotl.integrations.cut_cross_entropy.args", "CutCrossEntropyArgs", ("cut_cross_entropy",)),
    (
        "axolotl.integrations.liger.args",
        "LigerArgs",
        ("liger_fused_linear_cross_entropy", "liger_use_token_scaling"),
    ),
)

# Of DeepSpeed's ZeRO-3, which is imported only where a run asks for it: of its optimizer, and of
# the parameters that it shards.
ZERO3_OPTIMIZER = ("empty_partition_cache",)
ZERO3_PARAMETER = ("ds_id", "ds_numel", "ds_process_group", "ds_shape", "ds_tensor")

# A package whose modules are listed and not imported: the dataset types.
DATASET_TYPES = "axolotl.prompt_strategies"

USED = {one.name: one for one in NAMES}


def found(used: Used) -> Any:
    """What is installed under the name.

    Raises:
        ImportError, AttributeError: nothing.
    """
    return getattr(importlib.import_module(used.module), used.name)
