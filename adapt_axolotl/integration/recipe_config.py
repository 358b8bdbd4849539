"""A recipe read as `axolotl train` reads it, up to the point where it would load the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError

from adapt_axolotl.config.adapt import axolotl_says
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.integration.build import run_plan
from adapt_axolotl.integration.compat import (
    DictDefault,
    load_tokenizer,
    normalize_cfg_datasets,
    normalize_config,
    validate_config,
)
from adapt_axolotl.integration.installed import check_environment
from adapt_axolotl.integration.meta_settings import meta_settings
from adapt_axolotl.integration.other_plugins import register_plugins
from adapt_axolotl.integration.rows import load_recipe_tasks
from adapt_axolotl.integration.spec import TrainingSpec, read_spec
from adapt_axolotl.integration.this_machine import lora_kernel_obstacle
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.recipe.base_model import missing_folder
from adapt_axolotl.recipe.names import PLUGIN
from adapt_axolotl.run.plan import RunPlan

# The recipe is planned for the machine that trains it, not for this one, which may have no GPU.
_ANY_GPU = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 1, "compute_capability": "sm_90"}


@dataclass(frozen=True)
class PlannedRun:
    """Everything about a run that is known before its model is loaded.

    Attributes:
        config: Axolotl's, of the recipe.
        spec: what is read of it.
        tasks: the data, tokenised.
        plan: the draws.
        meta: when and how meta steps run; None for a static mixture.
        here: what would stop it on this machine.
        tokenizer: Axolotl's.
    """

    config: Any
    spec: TrainingSpec
    tasks: Tasks
    plan: RunPlan
    meta: MetaSettings | FallSettings | CurveSettings | None
    here: list[str]
    tokenizer: Any


def planned_run(recipe: Path, processes: int) -> PlannedRun:
    """Load and tokenise a recipe's data, in the prepared folder that training then takes it from.

    Args:
        recipe: the YAML file.
        processes: that will train together.

    Raises:
        ValueError: the recipe or its data has a mistake, with the remedy.
        OSError: the tokenizer or a dataset cannot be had.
    """
    check_environment()
    cfg = resolved_config(recipe)
    spec = read_spec(cfg)
    try:
        tokenizer = load_tokenizer(cfg)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{recipe}: its tokenizer cannot be loaded ({error}); correct base_model:, "
            "tokenizer_config: or tokenizer_type:"
        ) from error
    tasks = load_recipe_tasks(cfg, spec, tokenizer, fresh=False)
    plan = run_plan(spec, tasks, processes)
    estimate = plan.estimate()
    learned = spec.adapt.takes_meta_steps
    obstacle = lora_kernel_obstacle(cfg.lora_mlp_kernel)
    return PlannedRun(
        cfg,
        spec,
        tasks,
        plan,
        meta_settings(spec, estimate, tasks.validation_pools, None) if learned else None,
        [] if obstacle is None else [obstacle],
        tokenizer,
    )


def resolved_config(recipe: Path) -> Any:
    """Axolotl's config of a recipe. Its own `load_cfg` would ask this machine's GPU and write a log
    file.

    Raises:
        ValueError: it is no recipe, one of its plugins is not there, or Axolotl does not accept it.
    """
    try:
        raw: Any = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{recipe}: is not YAML: {error}; correct it there") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{recipe}: is no recipe; give a YAML file with keys such as base_model:")
    if PLUGIN not in (raw.get("plugins") or []):
        raise ValueError(
            f"{recipe}: plugins: does not list {PLUGIN}; `adapt-axolotl init "
            f"{recipe}` adds what is missing"
        )
    if (missing := missing_folder(raw)) is not None:
        raise ValueError(f"{recipe}: {missing}")
    cfg = DictDefault(raw)
    register_plugins(cfg)
    torch_version = torch.__version__.partition("+")[0]
    try:
        cfg = validate_config(cfg, _ANY_GPU, {"torch_version": torch_version})
    except ValidationError as error:
        mistakes = "\n  - ".join(axolotl_says(error))
        raise ValueError(
            f"{recipe}: Axolotl does not accept it; correct:\n  - {mistakes}"
        ) from error
    normalize_config(cfg)
    normalize_cfg_datasets(cfg)
    return cfg
