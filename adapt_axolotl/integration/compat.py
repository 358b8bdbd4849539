"""Every name that this package takes from Axolotl, Trainer, DeepSpeed and TRL, and how it uses it.

Most of these are internals that may change in any release. `check_environment` compares what is
installed with the table below before a run starts, so that a change stops it with a sentence
instead of training something else.

Names are imported when they are first used: `from adapt_axolotl.integration.compat import X`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import requires, version
from importlib.util import find_spec
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

LOG = logging.getLogger("axolotl.adapt")

# Axolotl pins the other packages to exact versions; where another one is installed it is told.
MADE_FOR = SpecifierSet(">=0.19,<0.20")
PINNED = ("accelerate", "peft", "transformers", "trl")


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

_NAMES = (
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

_USED = {one.name: one for one in _NAMES}


def __getattr__(name: str) -> Any:
    if name not in _USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return _found(_USED[name])
    except (ImportError, AttributeError):
        # Axolotl goes on without a plugin that cannot be imported, so this is the last chance.
        check_environment()
        raise


def _found(used: Used) -> Any:
    return getattr(importlib.import_module(used.module), used.name)


def check_environment() -> None:
    """Compare what is installed with what this package was made for.

    A version outside the range that still has everything is told once; training goes on.

    Raises:
        ValueError: something that is used has gone or takes other parameters: what, and what to
            install.
    """
    installed = version("axolotl")
    changes = list(changed_names())
    if changes:
        raise ValueError(
            f"axolotl {installed} is not what this version of adapt-axolotl was made for (axolotl "
            f"{MADE_FOR}):\n  - "
            + "\n  - ".join(changes)
            + f"\ninstall axolotl {MADE_FOR} with the packages that it pins, or a version of "
            "adapt-axolotl made for the one that is installed"
        )
    if not MADE_FOR.contains(installed, prereleases=True):
        LOG.warning(
            f"adapt-axolotl was made and tested for axolotl {MADE_FOR}; {installed} is installed. "
            "Everything that is used is there, so training goes on"
        )
    for package, pin, found in other_versions():
        LOG.warning(
            f"axolotl {installed} asks for {package}{pin}, and {found} is installed. Everything "
            "that is used is there, so training goes on"
        )


def check_zero3(engine: Any) -> None:
    """Compare what DeepSpeed made of a model with what is used of it.

    Args:
        engine: the model as DeepSpeed wraps it under ZeRO-3.

    Raises:
        ValueError: something that is used has gone.
    """
    parameter = next(engine.parameters())
    gone = [
        f"the optimizer's {one}" for one in ZERO3_OPTIMIZER if not hasattr(engine.optimizer, one)
    ]
    gone += [f"a parameter's {one}" for one in ZERO3_PARAMETER if not hasattr(parameter, one)]
    if gone:
        raise ValueError(
            f"deepspeed {version('deepspeed')} is not what this version of adapt-axolotl was made "
            f"for: {', '.join(gone)} is gone; install the version that axolotl[deepspeed] pins"
        )


def other_versions() -> Iterator[tuple[str, SpecifierSet, str]]:
    """(package, Axolotl's pin, version) of those installed in another version than it pins."""
    for asked in map(Requirement, requires("axolotl") or []):
        here = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if asked.name in PINNED and here:
            found = version(asked.name)
            if not asked.specifier.contains(found, prereleases=True):
                yield asked.name, asked.specifier, found


def changed_names() -> Iterator[str]:
    """A sentence for each thing in the table that is not as expected."""
    if find_spec(DATASET_TYPES) is None:
        yield f"{DATASET_TYPES} is gone"
    for used in _NAMES:
        if used.needs and find_spec(used.needs) is None:
            continue
        place = f"{used.module}.{used.name}"
        try:
            found = _found(used)
        except (ImportError, AttributeError):
            yield f"{place} is gone"
            continue
        yield from _changed_parameters(place, found, used.parameters)
        for name, parameters in used.methods.items():
            method = getattr(found, name, None)
            if method is None:
                yield f"{place}.{name} is gone"
            else:
                yield from _changed_parameters(f"{place}.{name}", method, parameters)
    try:
        schema = _found(_USED["AxolotlInputConfig"])
    except (ImportError, AttributeError):
        return  # told above
    for key in RECIPE_KEYS:
        if key not in schema.model_fields:
            yield f"the recipe key {key} is gone"
    for key in COMPUTED_KEYS:
        if not hasattr(schema, key):
            yield f"the computed recipe key {key} is gone"
    for module, name, keys in PLUGIN_KEYS:
        try:
            fields = _found(Used(module, name)).model_fields
        except (ImportError, AttributeError):
            yield f"{module}.{name} is gone"
            continue
        yield from (f"the recipe key {key} is gone" for key in keys if key not in fields)


def _changed_parameters(place: str, found: Any, wanted: tuple[str, ...]) -> Iterator[str]:
    if not wanted:
        return
    parameters = inspect.signature(found).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    missing = [name for name in wanted if name not in parameters]
    if missing:
        yield f"{place} takes no {', '.join(missing)} any more, only {', '.join(parameters)}"
