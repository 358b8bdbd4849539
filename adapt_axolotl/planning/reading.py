"""A recipe read as `axolotl train` reads it, up to the point where it would load the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from axolotl.cli.config import prepare_plugins
from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_cfg_datasets, normalize_config, validate_config
from axolotl.utils.dict import DictDefault
from pydantic import ValidationError

from adapt_axolotl.assembly import meta_settings, plan_run
from adapt_axolotl.config import AdaptConfig, axolotl_says
from adapt_axolotl.meta_step import MetaSettings
from adapt_axolotl.plugin import adapt_block
from adapt_axolotl.recipe import PLUGIN
from adapt_axolotl.run_plan import RunPlan
from adapt_axolotl.tasks import Tasks, load_tasks

# The recipe is planned for the machine that trains it, not for this one, which may have no GPU.
_ANY_GPU = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 1, "compute_capability": "sm_90"}


@dataclass(frozen=True)
class Reading:
    """Everything about a run that is known before its model is loaded.

    Attributes:
        adapt: the checked block.
        tasks: the data, tokenised.
        plan: the draws.
        meta: when and how meta steps run; None for a static mixture.
        sequence_len: longest row, in tokens.
    """

    adapt: AdaptConfig
    tasks: Tasks
    plan: RunPlan
    meta: MetaSettings | None
    sequence_len: int


def read_plan(recipe: Path, processes: int) -> Reading:
    """Load and tokenise a recipe's data, in the prepared folder that training then takes it from.

    Args:
        recipe: the YAML file.
        processes: that will train together.

    Raises:
        ValueError: the recipe or its data has a mistake, with the remedy.
        OSError: the tokenizer or a dataset cannot be had.
    """
    cfg = _resolve(recipe)
    adapt = adapt_block(cfg)
    try:
        tokenizer = load_tokenizer(cfg)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{recipe}: its tokenizer cannot be loaded ({error}); correct base_model:, "
            "tokenizer_config: or tokenizer_type:"
        ) from error
    tasks = load_tasks(cfg, adapt, tokenizer, fresh=False)
    plan = plan_run(cfg, adapt, tasks)
    shape = replace(plan.shape, micro_batches=plan.shape.micro_batches * processes)
    plan = replace(plan, shape=shape)
    estimate = plan.estimate()
    meta = meta_settings(cfg, adapt, estimate, None) if adapt.mixture == "learned" else None
    return Reading(adapt, tasks, plan, meta, cfg.sequence_len)


def _resolve(recipe: Path) -> DictDefault:
    """Axolotl's config. Its own `load_cfg` would ask this machine's GPU and write a log file."""
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
    cfg = DictDefault(raw)
    prepare_plugins(cfg)
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
