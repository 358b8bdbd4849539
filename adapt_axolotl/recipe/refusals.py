"""What cannot be combined with a task mixture, or with gradient products, and is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt_axolotl.recipe.names import TRAINER

# Axolotl's own plugins that bring a trainer, and the key that asks for it (None: they always do).
# Others are found when the run starts.
BRING_A_TRAINER = {
    "axolotl.integrations.diffusion.DiffusionPlugin": None,
    "axolotl.integrations.hatchery.HatcheryPlugin": None,
    "axolotl.integrations.kd.KDPlugin": "kd_trainer",
}
_SPLIT = "splits a row over processes, which the token accounts do not follow yet"
SHARED_ROWS = {
    "context_parallel_size": _SPLIT,
    "sequence_parallel_degree": _SPLIT,
    "tensor_parallel_size": "wants the same rows on several processes, and each gets rows of its "
    "own here",
}


def refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    if cfg.get("rl"):
        raise ValueError(
            f"rl: {cfg['rl']} trains on preferences or rollouts, which have no supervised tokens "
            "to budget; remove rl: or the adapt plugin"
        )
    for key in ("streaming", "pretraining_dataset"):
        if cfg.get(key):
            raise ValueError(
                f"{key}: a streamed dataset has no pool to draw from; remove {key}: and list the "
                "data under datasets:, or remove the adapt plugin"
            )
    for key in ("reward_model", "process_reward_model", "group_by_length", "curriculum_sampling"):
        if cfg.get(key):
            raise ValueError(
                f"{key}: cannot be combined with a task mixture, which decides the order of the "
                f"rows; remove {key}: or the adapt plugin"
            )

    for key, why in SHARED_ROWS.items():
        if (cfg.get(key) or 1) > 1:
            raise ValueError(f"{key}: {cfg[key]} {why}; set {key}: 1 or remove the adapt plugin")


def refuse_other_trainers(cfg: Mapping[str, Any]) -> None:
    """One trainer runs; that of another plugin would be off, or this one."""
    if cfg.get("trainer_cls") not in (None, TRAINER):
        raise ValueError(
            f"trainer_cls: {cfg['trainer_cls']} would never run, because this plugin brings "
            f"{TRAINER}, which draws the mixture; remove trainer_cls or the adapt plugin"
        )
    for plugin in cfg.get("plugins") or []:
        asked_by = BRING_A_TRAINER.get(plugin, "")
        if asked_by is None or cfg.get(asked_by):
            raise ValueError(two_trainers(plugin))


def two_trainers(plugin: str) -> str:
    """What is said of a plugin that brings a trainer of its own."""
    return (
        f"plugins: {plugin} brings a trainer of its own, and only one trainer can run; remove it "
        "or the adapt plugin"
    )


def refuse_resume_without_optimizer(cfg: Mapping[str, Any]) -> None:
    if cfg.get("save_only_model") and cfg.get("auto_resume_from_checkpoints"):
        raise ValueError(
            "save_only_model: its checkpoints have no optimizer and random state, so "
            "auto_resume_from_checkpoints could not go on from them as if nothing had happened; "
            "remove one of the two"
        )


def refuse_fsdp1(cfg: Mapping[str, Any]) -> None:
    """Axolotl takes it where the recipe does not ask for the second version."""
    options = cfg.get("fsdp_config") or {}
    nested = options if isinstance(options, Mapping) else {}
    version = cfg.get("fsdp_version") or nested.get("fsdp_version") or nested.get("version")
    for key in ("fsdp", "fsdp_config"):
        if cfg.get(key) and str(version) != "2":
            raise ValueError(fsdp1(key))


def fsdp1(switch: str) -> str:
    """What is said of FSDP1; `switch` turned it on."""
    return (
        f"{switch}: this is FSDP1, which is deprecated in Axolotl and not supported here; set "
        "fsdp_version: 2 (its keys are listed at docs.axolotl.ai under multi-GPU), or use DDP or "
        "DeepSpeed"
    )


def refuse_offloaded_parameters(cfg: Mapping[str, Any]) -> None:
    """Gradient products are taken where the model computes."""
    options = cfg.get("fsdp_config") or {}
    for key in ("offload_params", "fsdp_offload_params"):
        if isinstance(options, Mapping) and options.get(key):
            raise ValueError(offloaded_parameters(f"fsdp_config.{key}"))


def offloaded_parameters(switch: str) -> str:
    """What is said of parameters on the CPU under gradient products; `switch` put them there."""
    return (
        f"{switch}: gradient products were not made for parameters that are kept on the CPU; "
        "remove it, or adapt.learned.measure: products or mixture: doge"
    )


def refuse_spread_experts(cfg: Mapping[str, Any]) -> None:
    """Gradient products are summed over processes parameter by parameter."""
    if (cfg.get("expert_parallel_size") or 1) > 1:
        raise ValueError(
            f"expert_parallel_size: {cfg['expert_parallel_size']} gives each process other "
            "experts, and gradient products take the parameters of all processes for the same; set "
            "expert_parallel_size: 1, or remove adapt.learned.measure: products or mixture: doge"
        )


def refuse_layers_in_turns(cfg: Mapping[str, Any]) -> None:
    """Gradient products are over the parameters that are trained in the first step."""
    if cfg.get("lisa_n_layers") and cfg.get("lisa_step_interval"):
        raise ValueError(
            "lisa_n_layers: LISA trains other layers every few steps, and gradient products are "
            "taken along the same parameters all the time; remove adapt.learned.measure: products "
            "or mixture: doge, or lisa_n_layers and lisa_step_interval"
        )
