"""Keys of an Axolotl YAML that mean something else under a task mixture, or nothing.

The one owner of the list: the log of a run, `adapt-axolotl init` and docs/yaml_keys.md are made
from it.
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
            same as elsewhere, or is refused, and is listed to say so.
    """

    keys: tuple[str, ...]
    here: str
    tells: Callable[[Any], bool] | None


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
        "With `epoch`: once per pass over as many supervised tokens as all training pools hold, "
        "and at the end of the run. So a budget of 5% saves once, at the end, and one of 300% "
        "three times. Other values as elsewhere.",
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
        "No effect, for the same reason: rows come, and are packed, in the order in which the "
        "mixture draws them.",
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
        ("group_by_length", "curriculum_sampling"),
        "Refused: the mixture decides the order of the rows.",
        None,
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
        "budget, or of what ends the run first. Schedules that count steps themselves (`rex`, "
        "`one_cycle`) are refused.",
        None,
    ),
    Meaning(
        ("rl", "streaming", "pretraining_dataset", "reward_model", "process_reward_model"),
        "Refused: there are no pools of supervised tokens to draw from.",
        None,
    ),
)


def told(recipe: Mapping[str, Any]) -> list[str]:
    """A line for each key of a recipe that means something else here than elsewhere."""
    return [
        f"{key}: {recipe[key]} means here: {meaning.here}"
        for meaning in MEANINGS
        for key in meaning.keys
        if meaning.tells is not None and key in recipe and meaning.tells(recipe[key])
    ]
