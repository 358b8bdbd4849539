"""Read a recipe as the user wrote it: task names, environment variables, mistakes found early.

Runs on the raw YAML, before Axolotl's schema drops the keys it does not know (`datasets[].task`)
and long before a model is loaded.
"""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.recipe.block import parse_adapt_block
from adapt_axolotl.recipe.check_tasks import check_tasks
from adapt_axolotl.recipe.earlier_run import check_output_directory, earlier_run
from adapt_axolotl.recipe.keep import kept_bounds
from adapt_axolotl.recipe.late_keys import check_late_keys
from adapt_axolotl.recipe.names import (
    DATA_FILES,
    check_task_name,
    target_tasks,
    target_weights,
    task_names,
    trained_tasks,
)
from adapt_axolotl.recipe.refusals import (
    SHARED_ROWS,
    refuse_fsdp1,
    refuse_layers_in_turns,
    refuse_offloaded_parameters,
    refuse_other_trainers,
    refuse_resume_without_optimizer,
    refuse_spread_experts,
    refuse_unsupported,
)
from adapt_common.plain_values import plain

# What `axolotl train` puts into every recipe, asked for or not.
_FROM_AXOLOTL = {
    "axolotl_config_path",
    "debug",
    "debug_text_only",
    "debug_num_examples",
    "prompter",
    "shard",
}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_recipe(cfg: MutableMapping[str, Any]) -> AdaptConfig:
    """Check a raw recipe and write what was read back into it: expanded paths in `datasets` and
    `test_datasets`, and the task names of their entries in `cfg["adapt"]`.

    Raises:
        ValueError: what is wrong, with the key and the remedy.
    """
    for mistake in wrong_kinds(cfg):
        raise ValueError(mistake)
    adapt = parse_adapt_block(cfg.get("adapt"), trained_tasks(cfg))
    for check in _checks(cfg, adapt):
        check()
    # Axolotl hands the same mapping to its schema, so the names travel inside the adapt: block.
    cfg["adapt"] = {
        **cfg["adapt"],
        **_held_out_share(cfg, adapt),
        **_kept(cfg, adapt),
        "train_tasks": task_names(cfg, "datasets"),
        "test_tasks": task_names(cfg, "test_datasets"),
        "target_tasks": target_tasks(cfg),
        "target_weights": target_weights(cfg),
    }
    return parse_adapt_block(cfg["adapt"])


def mistakes(recipe: Mapping[str, Any]) -> list[str]:
    """All that `read_recipe` would refuse, where that stops at the first; `recipe` stays."""
    cfg = copy.deepcopy(dict(recipe))
    found = []
    try:
        adapt = parse_adapt_block(cfg.get("adapt"), trained_tasks(cfg))
    except ValueError as error:
        found.append(str(error))
        # What does not depend on the block is checked all the same.
        adapt = AdaptConfig(token_budget="100%", mixture="uniform")
    for check in _checks(cfg, adapt):
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return found


def wrong_kinds(cfg: Mapping[str, Any]) -> list[str]:
    """Of the keys that are read here: those whose value is of another kind than they take."""
    found = []
    for key in ("plugins", "datasets", "test_datasets"):
        if not isinstance(cfg.get(key) or [], list):
            found.append(f"{key}: must be a list; got {cfg[key]!r}")
    for key in ("val_set_size", "expert_parallel_size", *SHARED_ROWS):
        if not isinstance(cfg.get(key) or 0, int | float):
            found.append(f"{key}: must be a number; got {cfg[key]!r}")
    return found


def _checks(cfg: MutableMapping[str, Any], adapt: AdaptConfig) -> Iterator[Callable[[], object]]:
    """Each raises ValueError if its part of the recipe is wrong."""
    yield lambda: refuse_unsupported(cfg)
    yield lambda: refuse_other_trainers(cfg)
    yield lambda: refuse_resume_without_optimizer(cfg)
    yield lambda: refuse_fsdp1(cfg)
    if adapt.takes_gradient_products:
        yield lambda: refuse_offloaded_parameters(cfg)
        yield lambda: refuse_layers_in_turns(cfg)
        yield lambda: refuse_spread_experts(cfg)
    for key in ("datasets", "test_datasets"):
        for index, entry in enumerate(cfg.get(key) or []):
            yield partial(_expand_paths, entry, f"{key}[{index}]")
            yield partial(check_task_name, entry, f"{key}[{index}]")
    yield lambda: check_tasks(
        adapt, trained_tasks(cfg), task_names(cfg, "test_datasets"), target_tasks(cfg)
    )
    yield lambda: earlier_run(adapt, trained_tasks(cfg))
    yield lambda: check_output_directory(adapt, cfg.get("output_dir"))
    yield lambda: target_weights(cfg)
    yield lambda: _kept(cfg, adapt)
    yield lambda: _held_out_share(cfg, adapt)
    yield lambda: _check_budget(cfg, adapt)
    yield lambda: check_late_keys(cfg, [*trained_tasks(cfg), *target_tasks(cfg)])


def _kept(cfg: Mapping[str, Any], adapt: AdaptConfig) -> dict[str, Any]:
    """The block's `learned:` with the bounds that `keep` stands for."""
    targets = (*target_tasks(cfg), *(adapt.learned.targets or ()))
    bounds = kept_bounds(adapt, trained_tasks(cfg), targets)
    if adapt.learned.keep is None or not bounds:
        return {}
    return {"learned": {**cfg["adapt"]["learned"], "bounds": bounds}}


def recipe_as_written(cfg: Mapping[str, Any]) -> str:
    """The text of a raw recipe, before `read_recipe`: its file byte for byte, or, where the command
    line changed keys, what came of it as plain YAML. The checkpoint that a command names is of that
    start and not of the recipe."""

    def asked(raw: Mapping[str, Any]) -> dict[str, Any]:
        not_asked = (*_FROM_AXOLOTL, "resume_from_checkpoint")
        return {key: plain(raw[key]) for key in raw if key not in not_asked}

    file = cfg.get("axolotl_config_path")
    if file is not None:
        # Bytes, because reading as text would change the line ends.
        text = Path(file).read_bytes().decode()
        if asked(yaml.safe_load(text)) == asked(cfg):
            return text
    return yaml.safe_dump(asked(cfg), sort_keys=False, allow_unicode=True)


def _held_out_share(cfg: Mapping[str, Any], adapt: AdaptConfig) -> dict[str, float]:
    """Axolotl's `val_set_size`, taken of every task instead of the merged rows."""
    size = cfg.get("val_set_size") or 0
    if not size or adapt.val_examples is not None or adapt.val_fraction is not None:
        return {}
    if size >= 1:
        raise ValueError(
            f"val_set_size: {size} rows of the merged data; with tasks, write the rows of each "
            "task under adapt.val_examples and remove val_set_size"
        )
    return {"val_fraction": size}


def _check_budget(cfg: Mapping[str, Any], adapt: AdaptConfig) -> None:
    """A budget in tokens must hold an optimizer step, which takes one token a row at least."""
    keys = ["gradient_accumulation_steps"]
    if not cfg.get("sample_packing"):  # a packed micro-batch may be one long row
        keys.append("micro_batch_size")
    sizes = [cfg[key] for key in keys if isinstance(cfg.get(key), int)]
    rows, tokens = math.prod(sizes), adapt.budget.tokens
    if tokens is not None and tokens < rows:
        raise ValueError(
            f"adapt.token_budget: {tokens:,} supervised tokens are fewer than one optimizer step "
            f"takes ({rows} rows, each with one or more); raise the budget, or lower "
            f"{' or '.join(reversed(keys))}"
        )


def _expand_paths(entry: MutableMapping[str, Any], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"{where}: must be a block of keys, such as path: and type:; got {entry!r}"
        )
    for key in ("path", "data_files"):
        value = entry.get(key)
        if isinstance(value, str):
            entry[key] = _expand(value, f"{where}.{key}")
        elif isinstance(value, list):
            entry[key] = [_expand(str(item), f"{where}.{key}") for item in value]
    path = entry.get("path")
    if isinstance(path, str) and Path(path).suffix in DATA_FILES:
        remote = "://" in path
        if not remote and not os.path.isfile(path):
            raise ValueError(
                f"{where}.path: there is no file {path} (looked in {Path.cwd()}); correct the "
                "path, or make the data first: a recipe's opening comment says how"
            )
        if not remote and Path(path).stat().st_size == 0:
            raise ValueError(f"{where}.path: {path} is empty; remove the entry or fill the file")


def _expand(text: str, where: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ValueError(
                f"{where}: the environment variable {name} is not set; run "
                f"`export {name}=...` with the folder that it stands for"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)
