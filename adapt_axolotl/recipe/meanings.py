"""Keys of an Axolotl YAML that mean something else under a task mixture, nothing, or are refused.

The one owner of the lists: the log of a run, `adapt-axolotl init` and docs/yaml_keys.md are made
from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Meaning:
    """What keys mean here.

    Attributes:
        keys: of a recipe.
        here: one or two sentences, in Markdown.
        tells: whether a value is one that its user should hear about; None where the key means the
            same as elsewhere, and is listed to say so.
    """

    keys: tuple[str, ...]
    here: str
    tells: Callable[[Any], bool] | None


@dataclass(frozen=True)
class Refusal:
    """What of a recipe stops a run.

    Attributes:
        keys: of a recipe.
        when: which values, and why, in Markdown.
    """

    keys: tuple[str, ...]
    when: str


def _always(value: Any) -> bool:
    return value is not None


def _wanted(value: Any) -> bool:
    return bool(value)


MEANINGS = (
    Meaning(
        ("num_epochs",),
        "Does not end the run; `adapt.token_budget` does. As much training as `num_epochs: 3` is "
        "`token_budget: 300%`.",
        _always,
    ),
    Meaning(
        ("save_strategy", "eval_strategy"),
        "With `epoch`: once per pass over as many supervised tokens as the training pools of all "
        "tasks hold, and at the end of the run. So a budget of 5% saves once, at the end, and one "
        "of 300% three times. Other values as elsewhere.",
        lambda value: value == "epoch",
    ),
    Meaning(
        ("saves_per_epoch", "evals_per_epoch"),
        "So many times `num_epochs` (1 where it is missing), spread evenly over the run, whatever "
        "its budget. `evals_per_epoch` is read only beside `val_set_size` or `test_datasets`; "
        "without them write `eval_steps: 0.1` for every tenth of the run.",
        _wanted,
    ),
    Meaning(
        ("val_set_size",),
        "The share of each task that is held out, at least 2 rows, where elsewhere it is the share "
        "of the merged rows. 0 is the default split. A loss over a few rows is mostly noise: "
        "`adapt.val_examples: 64` in its place holds out that many of every task.",
        _always,
    ),
    Meaning(
        ("dataloader_num_workers", "dataloader_prefetch_factor"),
        "Always 0 and none: workers fetch hundreds of batches ahead of a mixture that moves. "
        "Rows are tokenised before training, so nothing waits for them.",
        _wanted,
    ),
    Meaning(
        ("shuffle_merged_datasets",),
        "No effect: the mixture decides which task comes next, and the rows of a task come in a "
        "new seeded order each pass.",
        lambda value: value is False,
    ),
    Meaning(
        ("shuffle_before_merging_datasets", "sample_packing_sequentially"),
        "No effect: rows come, and are packed, in the order in which the mixture draws them.",
        _wanted,
    ),
    Meaning(
        ("dataset_exact_deduplication",),
        "Rows with equal tokens are kept once in each task, where elsewhere the merged rows are "
        "compared; a row of two tasks stays in both. Rows that equal a validation row of any task "
        "are never trained on, with or without this key.",
        _wanted,
    ),
    Meaning(
        ("max_steps",),
        "Ends the run where it comes before the end of the budget; the learning rate then reaches "
        "its end there.",
        None,
    ),
    Meaning(
        ("lr_scheduler", "warmup_steps", "warmup_ratio"),
        "The same curve, read at the share of the run that is done instead of the step: of the "
        "budget, or of what ends the run first.",
        None,
    ),
)

# What the plugin itself refuses, beside mistakes in the `adapt:` block and in the data. Values that
# Axolotl refuses are not listed.
REFUSALS = (
    Refusal(("datasets",), "Fewer than two tasks: there is nothing to mix."),
    Refusal(
        ("rl", "reward_model", "process_reward_model"),
        "Always: preferences, rollouts and rewards have no supervised tokens to budget. So are "
        "dataset types with such rows.",
    ),
    Refusal(
        ("streaming", "pretraining_dataset"),
        "Always: a stream has no pool of rows to draw from.",
    ),
    Refusal(
        ("group_by_length", "curriculum_sampling"),
        "Always: the mixture decides the order of the rows.",
    ),
    Refusal(
        ("context_parallel_size", "tensor_parallel_size", "sequence_parallel_degree"),
        "Above 1: the token counts do not follow a row that is split over processes, nor rows that "
        "several processes share.",
    ),
    Refusal(
        ("trainer_cls",),
        "Other than `adapt_axolotl.trainer.AdaptTrainer`: only one trainer can run.",
    ),
    Refusal(
        ("plugins",),
        "Those that bring a trainer of their own, such as Axolotl's diffusion, hatchery and, with "
        "`kd_trainer: true`, knowledge distillation.",
    ),
    Refusal(
        ("fsdp", "fsdp_config", "fsdp_version"),
        "FSDP1, which Axolotl takes without `fsdp_version: 2`, also where accelerate's config "
        "switches it on. FSDP2 with `offload_params: true`, in accelerate's config too, and "
        "gradient products (`adapt.learned.measure: products`, `mixture: doge`), which are taken "
        "where the model computes.",
    ),
    Refusal(
        ("expert_parallel_size",),
        "Above 1 with `adapt.learned.measure: products` or `mixture: doge`: each process then has "
        "other experts. The default, `training_losses`, takes no gradients.",
    ),
    Refusal(
        ("lisa_n_layers", "lisa_step_interval"),
        "Both together with `adapt.learned.measure: products` or `mixture: doge`: LISA trains "
        "other layers every few steps. The default, `training_losses`, works with it.",
    ),
    Refusal(
        ("deepspeed",),
        "With `mixture: learned` or `doge`, where accelerate's config switches DeepSpeed on and "
        "the recipe does not have the key. With `adapt.learned.measure: products` or `mixture: "
        "doge`, ZeRO-3 with parameters on NVMe, `zero_hpz_partition_size` or `mics_shard_size`, "
        "and with trained experts in a list, of which a process runs those that its tokens chose.",
    ),
    Refusal(
        ("save_only_model", "auto_resume_from_checkpoints"),
        "Both together: these checkpoints have no optimizer state to go on from.",
    ),
    Refusal(
        ("resume_from_checkpoint",),
        "A folder that this plugin did not write, one that was saved with `save_only_model: true`, "
        "one of a run with other data, budget, mixture or global batch, and one of a learned run "
        "that an earlier version of this package kept in another form.",
    ),
    Refusal(
        ("lr_scheduler",),
        "Schedules that count steps themselves, such as `rex` and `one_cycle`: they cannot follow "
        "a token budget.",
    ),
    Refusal(
        ("metric_for_best_model",),
        "Other than `eval_loss`, `eval_worst_loss`, `eval_objective` and `eval_<task>_loss`.",
    ),
    Refusal(
        ("val_set_size",),
        "1 or more, which is a number of merged rows: write the rows of each task under "
        "`adapt.val_examples`.",
    ),
    Refusal(
        ("lora_mlp_kernel",),
        "On a machine without CUDA, where it is on; with LoRA, Axolotl switches it on by itself. "
        "There `plan` warns and `validate` adds a note. Set it to `false`, which also keeps "
        "Axolotl from switching on the other LoRA kernels.",
    ),
)


def told(recipe: Mapping[str, Any]) -> list[str]:
    """A line for each meaning that keys of a recipe have here and not elsewhere."""
    lines = []
    for meaning in MEANINGS:
        keys = [
            f"{key}: {recipe[key]}"
            for key in meaning.keys
            if meaning.tells is not None and key in recipe and meaning.tells(recipe[key])
        ]
        if keys:
            means = "means" if len(keys) == 1 else "mean"
            lines.append(f"{' and '.join(keys)} {means} here: {meaning.here}")
    return lines
