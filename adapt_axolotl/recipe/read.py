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
from adapt_axolotl.mixture.static import from_weights
from adapt_axolotl.recipe.block import parse_adapt_block
from adapt_axolotl.recipe.keep import kept_bounds
from adapt_axolotl.recipe.late_keys import check_late_keys
from adapt_common.hub import looks_like_hub_name
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
# As a recipe names them.
PLUGIN = "adapt_axolotl.AdaptPlugin"
TRAINER = "adapt_axolotl.trainer.AdaptTrainer"
# A path with one of these endings is a file, not a name on the hub.
DATA_FILES = {".jsonl", ".json", ".csv", ".parquet"}
# Axolotl's own plugins that bring a trainer, and the key that asks for it (None: they always do).
# Others are found when the run starts.
BRING_A_TRAINER = {
    "axolotl.integrations.diffusion.DiffusionPlugin": None,
    "axolotl.integrations.hatchery.HatcheryPlugin": None,
    "axolotl.integrations.kd.KDPlugin": "kd_trainer",
}
_SPLITS_OF_A_ROW = ("context_parallel_size", "tensor_parallel_size", "sequence_parallel_degree")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_recipe(cfg: MutableMapping[str, Any]) -> AdaptConfig:
    """Check a raw recipe and write what was read back into it: expanded paths in `datasets` and
    `test_datasets`, and the task names of their entries in `cfg["adapt"]`.

    Raises:
        ValueError: what is wrong, with the key and the remedy.
    """
    for mistake in wrong_kinds(cfg):
        raise ValueError(mistake)
    adapt = parse_adapt_block(cfg.get("adapt"), _names(cfg))
    for check in _checks(cfg, adapt):
        check()
    # Axolotl hands the same mapping to its schema, so the names travel inside the adapt: block.
    cfg["adapt"] = {
        **cfg["adapt"],
        **_held_out_share(cfg, adapt),
        **_kept(cfg, adapt),
        "train_tasks": _task_names(cfg, "datasets"),
        "test_tasks": _task_names(cfg, "test_datasets"),
        "target_tasks": _targets(cfg),
    }
    return parse_adapt_block(cfg["adapt"])


def mistakes(recipe: Mapping[str, Any]) -> list[str]:
    """All that `read_recipe` would refuse, where that stops at the first; `recipe` stays."""
    cfg = copy.deepcopy(dict(recipe))
    found = []
    try:
        adapt = parse_adapt_block(cfg.get("adapt"), _names(cfg))
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
    for key in ("val_set_size", *_SPLITS_OF_A_ROW):
        if not isinstance(cfg.get(key) or 0, int | float):
            found.append(f"{key}: must be a number; got {cfg[key]!r}")
    return found


def _checks(cfg: MutableMapping[str, Any], adapt: AdaptConfig) -> Iterator[Callable[[], object]]:
    """Each raises ValueError if its part of the recipe is wrong."""
    yield lambda: _refuse_unsupported(cfg)
    yield lambda: _refuse_other_trainers(cfg)
    yield lambda: _refuse_resume_without_optimizer(cfg)
    if adapt.mixture == "learned" and adapt.learned.measure == "products":
        yield lambda: _refuse_sharded_parameters(cfg)
        yield lambda: _refuse_layers_in_turns(cfg)
    for key in ("datasets", "test_datasets"):
        for index, entry in enumerate(cfg.get(key) or []):
            yield partial(_expand_paths, entry, f"{key}[{index}]")
            yield partial(check_task_name, entry, f"{key}[{index}]")
    yield lambda: _check_tasks(adapt, _names(cfg), _task_names(cfg, "test_datasets"), _targets(cfg))
    yield lambda: _kept(cfg, adapt)
    yield lambda: _held_out_share(cfg, adapt)
    yield lambda: _check_budget(cfg, adapt)
    yield lambda: check_late_keys(cfg, _names(cfg))


def _task_names(cfg: Mapping[str, Any], key: str) -> list[str]:
    return [task_name(entry) for entry in cfg.get(key) or [] if isinstance(entry, Mapping)]


def _names(cfg: Mapping[str, Any]) -> list[str]:
    """The tasks that a recipe trains on, each once."""
    return list(dict.fromkeys(_task_names(cfg, "datasets")))


def _targets(cfg: Mapping[str, Any]) -> list[str]:
    """The tasks that entries of `test_datasets` name by `target:`, each once."""
    entries = [one for one in cfg.get("test_datasets") or [] if isinstance(one, Mapping)]
    return list(dict.fromkeys(str(entry["target"]) for entry in entries if entry.get("target")))


def _kept(cfg: Mapping[str, Any], adapt: AdaptConfig) -> dict[str, Any]:
    """The block's `learned:` with the bounds that `keep` stands for."""
    targets = (*_targets(cfg), *(adapt.learned.targets or ()))
    bounds = kept_bounds(adapt, _names(cfg), targets)
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


def task_name(entry: Mapping[str, Any]) -> str:
    """`task:` of a dataset entry, or its `target:`, else its path."""
    return str(entry.get("task") or entry.get("target") or entry.get("path"))


def check_task_name(entry: Mapping[str, Any], where: str) -> None:
    """
    Raises:
        ValueError: `task:` or `target:` is there and is no name. YAML reads an unquoted no, off or
            nothing as one of its own values, which would give the entry another task without a
            word. Or both are there, or a target among the training data.
    """
    if not isinstance(entry, Mapping):
        return
    for key in ("task", "target"):
        name = entry.get(key, "path")
        if isinstance(name, str | int | float) and not isinstance(name, bool) and str(name).strip():
            continue
        empty = name is None or str(name).strip() == ""
        raise ValueError(
            f"{where}.{key}: {'is empty' if empty else f'{name!r} is no name'}; write a name in "
            f'quotes, as in {key}: "qa", or remove the key, and the entry\'s path is the name'
        )
    if "target" in entry and not where.startswith("test_datasets"):
        raise ValueError(
            f"{where}.target: a target is what training is for, and is measured on test_datasets; "
            "write task: here, and target: in an entry of test_datasets"
        )
    if "target" in entry and "task" in entry:
        raise ValueError(
            f"{where}: has task: {entry['task']} and target: {entry['target']}; keep target: where "
            "these rows are what the mixture is to be good at, task: where they are the validation "
            "rows of a training task like any other"
        )


def is_hub_name(path: str) -> bool:
    """Whether a path names a repository of the hub (`name` or `owner/name`) and nothing here."""
    place = Path(path)
    return looks_like_hub_name(path) and place.suffix not in DATA_FILES and not os.path.exists(path)


def _refuse_unsupported(cfg: Mapping[str, Any]) -> None:
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

    for key in _SPLITS_OF_A_ROW:
        if (cfg.get(key) or 1) > 1:
            raise ValueError(
                f"{key}: {cfg[key]} splits a row over processes, which the token accounts do not "
                f"follow yet; set {key}: 1 or remove the adapt plugin"
            )


def _refuse_other_trainers(cfg: Mapping[str, Any]) -> None:
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


def _refuse_resume_without_optimizer(cfg: Mapping[str, Any]) -> None:
    if cfg.get("save_only_model") and cfg.get("auto_resume_from_checkpoints"):
        raise ValueError(
            "save_only_model: its checkpoints have no optimizer and random state, so "
            "auto_resume_from_checkpoints could not go on from them as if nothing had happened; "
            "remove one of the two"
        )


def _refuse_sharded_parameters(cfg: Mapping[str, Any]) -> None:
    """The meta-gradient needs whole parameters on every process."""
    for key in ("fsdp", "fsdp_config"):
        if cfg.get(key):
            raise ValueError(sharded_parameters(key))


def sharded_parameters(switch: str) -> str:
    """What is said of gradient products under FSDP; `switch` turned FSDP on."""
    return (
        f"{switch}: gradient products do not gather FSDP's shards; remove adapt.learned.measure: "
        "products, or use DDP or DeepSpeed (ZeRO-1, -2 or -3) instead"
    )


def _refuse_layers_in_turns(cfg: Mapping[str, Any]) -> None:
    """Gradient products are over the parameters that are trained in the first step."""
    if cfg.get("lisa_n_layers") and cfg.get("lisa_step_interval"):
        raise ValueError(
            "lisa_n_layers: LISA trains other layers every few steps, and gradient products are "
            "taken along the same parameters all the time; remove adapt.learned.measure: products, "
            "or lisa_n_layers and lisa_step_interval"
        )


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


def _check_tasks(
    adapt: AdaptConfig, names: list[str], test_tasks: list[str], targets: list[str]
) -> None:
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise ValueError(
            f"datasets: a mixture needs at least two tasks, found {found}; add an entry, or give "
            "the entries different task: names"
        )
    for name in dict.fromkeys(test_tasks):
        if name not in (*names, *targets):
            raise ValueError(
                f"test_datasets: task {name!r} has validation but no training data; give the "
                f"entry the task: of one of the datasets ({', '.join(names)}), write target: in "
                "place of task: if the mixture is to be good at it without training on it, or "
                "remove it"
            )
    untrained = [name for name in targets if name not in names]
    if untrained and adapt.mixture == "learned" and adapt.learned.measure != "products":
        raise ValueError(
            f"test_datasets: target {untrained[0]!r} has no training data, so what helps it is "
            "told by gradient products only; add adapt.learned.measure: products"
        )
    every = [*names, *untrained]
    for name in set(targets) & set(adapt.learned.bounds or ()):
        raise ValueError(
            f"adapt.learned.bounds: {name} is a target of test_datasets too, whose loss is to fall "
            "as far as it can; remove it from one of the two"
        )
    learned = adapt.learned
    for key, named, known in (
        ("tokens", adapt.tokens or (), names),
        ("learned.targets", learned.targets or (), every),
        (
            "learned.groups",
            [one for group in (learned.groups or {}).values() for one in group],
            every,
        ),
        ("learned.bounds", learned.bounds or (), every),
    ):
        if unknown := sorted(set(named) - set(known)):
            raise ValueError(
                f"adapt.{key}: {', '.join(unknown)} is no task of the recipe; choose from "
                f"{', '.join(known)}"
            )
    sharing = [name for name in names if name not in (adapt.tokens or {})]
    if not sharing:
        raise ValueError(
            "adapt.tokens: names every task, so there is none to take the rest of the budget; "
            "remove one of them, or write the same numbers under weights: with mixture: weights "
            "and their sum as token_budget"
        )
    if adapt.weights is not None:
        for task in set(adapt.weights) & set(adapt.tokens or ()):
            raise ValueError(
                f"adapt.weights: {task} has a number of tokens (adapt.tokens), and a weight shares "
                "the rest; remove it from one of the two"
            )
        from_weights(adapt.weights, sharing, key="adapt.weights")
    for number, phase in enumerate(adapt.phases or ()):
        if phase.weights is not None:
            from_weights(phase.weights, sharing, key=f"adapt.phases[{number}].weights")
    if adapt.eval_weights is not None:
        from_weights(adapt.eval_weights, every, key="adapt.eval_weights")
    if set(every) <= set(learned.bounds or ()):
        raise ValueError(
            "adapt.learned.bounds: every task has a bound, so there is no loss to lower; remove "
            "that of a task that is to fall as far as it can"
        )
    references = adapt.learned.reference_losses
    if references is not None and set(references) != set(every):
        raise ValueError(
            "adapt.learned.reference_losses: must name every task and no other; missing "
            f"{sorted(set(every) - set(references))}, "
            f"unknown {sorted(set(references) - set(every))}"
        )
