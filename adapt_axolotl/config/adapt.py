"""The keys of the `adapt:` block itself.

There are two ways in. `recipe/block.py` reads the raw YAML before Axolotl does and reports every
mistake at once, each with its remedy; `AdaptArgs` hands the block to Axolotl's own schema, where it
is required, so that a misspelt block stops the run instead of training without the plugin.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from adapt_axolotl.budget.amount import TokenBudget
from adapt_axolotl.config.learned import LearnedConfig
from adapt_axolotl.config.methods import MethodKeys
from adapt_axolotl.config.phase import TEMPERATURE, Phase
from adapt_axolotl.mixture.learned import FLOOR

MixtureName = Literal[
    "learned",
    "uniform",
    "proportional",
    "temperature",
    "weights",
    "round_robin",
    "phases",
    "replay",
    "odm",
    "group_dro",
    "doremi",
    "doge",
]


class AdaptConfig(MethodKeys):
    """The `adapt:` block."""

    token_budget: str | int | float = Field(
        description="Supervised tokens (labels other than -100) that the run may train on: a share "
        "of those in the training pools (`5%`) or a number (`200_000`). Never overspent. There is "
        "no upper limit: `300%` trains on three times as many tokens as the pools hold, about what "
        "`num_epochs: 3` is without a mixture; how often each task repeats is up to the mixture, "
        "and `max_repeats` caps it.",
    )
    mixture: MixtureName = Field(
        default="learned",
        description="How tasks are mixed: `learned`; or static: `uniform`, `proportional` (to pool "
        "size), `temperature` (size to the power 1/temperature), `weights`, `round_robin` (rows "
        "in turn), `phases` (one of these after another), `replay` (those of another run); or by "
        "methods of others: `odm`, `group_dro`, `doremi`, `doge` ([other methods]"
        "(other_methods.md)).",
    )
    unit: Literal["tokens", "examples"] | None = Field(
        default=None,
        description="What a share counts. `tokens` (default): supervised tokens, which is what the "
        "budget counts and what a task's weight in the loss is proportional to; by examples, a "
        "task with answers ten times as long gets ten times the training. `round_robin` counts "
        "examples.",
    )
    temperature: float = Field(
        default=TEMPERATURE,
        gt=0,
        description="For `mixture: temperature`: 1 is proportional, large is uniform.",
    )
    final_temperature: float | None = Field(
        default=None,
        gt=0,
        description="For `mixture: temperature`: the temperature goes evenly from `temperature` to "
        "this one over the run. Default: it stays.",
    )
    phases: list[Phase] | None = Field(
        default=None,
        description="For `mixture: phases`: static mixtures, one after another; see below.",
    )
    weights: dict[str, float] | None = Field(
        default=None,
        description="For `mixture: weights`, or `learned` with `initial: weights`: the share of "
        "every task, in any scale.",
    )
    tokens: dict[str, int] | None = Field(
        default=None,
        description="Supervised tokens, to within a row, that a task gets out of the budget, as in "
        "`{chat: 200_000}`. The other tasks share the rest as `mixture` says. Where `max_steps` or "
        "`max_repeats` ends a run before its budget, its part of them.",
    )
    floor: float = Field(
        default=FLOOR,
        ge=0,
        lt=1,
        description="Least share of a task under `mixture: learned`, as a part of its initial "
        "share.",
    )
    rows: Literal["uniform", "learned"] = Field(
        default="uniform",
        description="How rows are drawn within a task, under any mixture: `uniform`, each once in "
        "every pass; `learned`, from the third pass on those seldom whose losses stay far above "
        "the task's others, which are often wrong answers. It helps where rows come round three "
        "times or more, and `max_repeats` then caps the rows that a task gives in all; see "
        "[common_asks.md](common_asks.md#rows-that-hurt).",
    )
    max_repeats: float | None = Field(
        default=None,
        gt=0,
        description="Passes over a task's training rows after which it is drawn no more; its share "
        "goes to the other tasks. When all tasks are there the run ends, even below the budget, "
        "and says so. Default: no cap.",
    )
    val_examples: int | None = Field(
        default=None,
        ge=2,
        description="Validation rows per task: so many are carved from its training rows where it "
        "has no `test_datasets`, and at most so many are used where it has. Default: a "
        "tenth carved, at least 4 and at most 64.",
    )
    val_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="The carved split as a share of a task's rows, instead of `val_examples`.",
    )
    eval_weights: dict[str, float] | None = Field(
        default=None,
        description="Weight of every task in `eval_loss`, the mean over the tasks' validation "
        "losses that chooses the best checkpoint unless `metric_for_best_model` names another: "
        "`eval_worst_loss`, `eval_objective` or `eval_<task>_loss`. Default: all alike.",
    )
    log_task_losses: bool = Field(
        default=False,
        description="Log the training loss of every task, `adapt/loss/<task>`, also under packing. "
        "A mixture that learns from training losses does so anyway, at no cost; others take 1 to "
        "4 % of the time for it ([cost.md](cost.md#the-losses-of-rows)).",
    )
    charge_meta_tokens: bool = Field(
        default=False,
        description="Charge the supervised tokens of meta steps to the budget. They are reported "
        "beside it either way.",
    )
    learned: LearnedConfig = Field(
        default_factory=LearnedConfig, description="Settings of `mixture: learned` and `doge`."
    )
    train_tasks: list[str] = Field(
        default_factory=list,
        description="Filled in by the plugin: the task of each entry of `datasets:`.",
    )
    test_tasks: list[str] = Field(
        default_factory=list,
        description="Filled in by the plugin: the task of each entry of `test_datasets:`.",
    )
    target_tasks: list[str] = Field(
        default_factory=list,
        description="Filled in by the plugin: the tasks that an entry of `test_datasets:` names by "
        "`target:`.",
    )

    target_weights: dict[str, float] = Field(
        default_factory=dict,
        description="Filled in by the plugin: `weight:` of these targets where they have one.",
    )

    @property
    def task_names(self) -> tuple[str, ...]:
        """The K tasks, each once: those that are trained on, and behind them targets that are
        not."""
        return tuple(dict.fromkeys([*self.train_tasks, *self.target_tasks]))

    @property
    def takes_gradient_products(self) -> bool:
        return self.takes_meta_steps and self.learned.measure == "products"

    @property
    def targets(self) -> tuple[str, ...]:
        """The tasks that alone count in the objective; empty where all do."""
        return tuple(dict.fromkeys([*self.target_tasks, *(self.learned.targets or ())]))

    @property
    def counted(self) -> tuple[str, ...]:
        """The tasks whose losses count, as targets or by a bound; empty where all do."""
        bounded = self.learned.bounds or ()
        return tuple(dict.fromkeys([*self.targets, *bounded])) if self.targets else ()

    @property
    def budget(self) -> TokenBudget:
        return TokenBudget.parse(self.token_budget)

    @property
    def share_unit(self) -> Literal["tokens", "examples"]:
        if self.unit is not None:
            return self.unit
        return "examples" if self.mixture == "round_robin" else "tokens"

    @field_validator("token_budget", mode="before")
    @classmethod
    def _budget_parses(cls, value: Any) -> Any:
        TokenBudget.parse(value)
        return value

    @field_validator("tokens")
    @classmethod
    def _tokens_are_some(cls, tokens: dict[str, int] | None) -> dict[str, int] | None:
        for task, number in (tokens or {}).items():
            if number <= 0:
                raise ValueError(
                    f"{task}: {number} is no number of tokens to train on; write one above 0, as "
                    f"in {task}: 200_000, or remove the task's datasets"
                )
        return tokens or None

    @field_validator("phases")
    @classmethod
    def _phases_follow_each_other(cls, phases: list[Phase] | None) -> list[Phase] | None:
        if phases is None:
            return None
        ends = [phase.until for phase in phases]
        if len(phases) < 2 or None in ends[:-1] or ends[-1] is not None:
            raise ValueError(
                "two phases or more follow each other, each but the last until a share of the run; "
                "write phases: [{until: 60%, mixture: uniform}, {mixture: proportional}]"
            )
        shares = [float(end) for end in ends if end is not None]
        if any(later <= sooner for sooner, later in pairwise(shares)):
            raise ValueError(
                "each phase ends after the one before it; order them by until:, which counts from "
                "the start of the run"
            )
        return phases

    @model_validator(mode="after")
    def _keys_fit_together(self) -> AdaptConfig:
        if self.val_examples is not None and self.val_fraction is not None:
            raise ValueError("val_examples and val_fraction exclude each other; keep one of them")
        learned = self.takes_meta_steps
        read = self.learned.initial == "weights" if learned else self.mixture == "weights"
        if read and self.weights is None:
            key = "learned.initial" if learned else "mixture"
            raise ValueError(f"{key}: weights needs the weights: mapping; add it")
        if self.weights is not None and not read:
            raise ValueError(
                "weights: is read with mixture: weights, or with mixture: learned and "
                "learned.initial: weights; set one of these, or remove it"
            )
        if learned and self.weights and not all(share > 0 for share in self.weights.values()):
            raise ValueError(
                "weights: a learned mixture starts with a share above 0 for every task; without "
                "one a task is never tried"
            )
        if (self.mixture == "phases") != (self.phases is not None):
            raise ValueError(
                "mixture: phases and the phases: list go together; add the one that is missing, or "
                "remove the other"
            )
        left_out = [
            task
            for one in self.phases or ()
            for task, share in (one.weights or {}).items()
            if not share
        ]
        if self.max_repeats is not None and left_out:
            raise ValueError(
                f"max_repeats: a phase leaves {left_out[0]} out, and where all its tasks have been "
                "drawn so often the run would end before the later phases; remove max_repeats, or "
                "give the task a small weight"
            )
        if self.final_temperature is not None and self.mixture != "temperature":
            raise ValueError(
                "final_temperature is read with mixture: temperature only; remove it, or choose "
                "mixture: temperature"
            )
        if self.floor != FLOOR and self.mixture != "learned":
            raise ValueError(
                "floor is read with mixture: learned only; remove it, or choose mixture: learned"
            )
        if self.floor != FLOOR and self.learned.rule == "doge":
            raise ValueError(
                "floor is not read with learned.rule: doge, whose shares have none; remove it, or "
                "choose another rule"
            )
        if self.tokens and self.share_unit == "examples":
            raise ValueError(
                "tokens: stands beside shares of tokens, and here shares count examples; remove "
                f"tokens:, or {'unit: examples' if self.unit else 'mixture: round_robin'}"
            )
        if self.tokens and self.mixture == "replay":
            raise ValueError(
                "tokens: replay draws the shares of another run, in which all tasks have theirs; "
                "remove tokens:, or choose another mixture"
            )
        if self.mixture == "round_robin" and self.unit == "tokens":
            raise ValueError(
                "round_robin takes rows in turn, so it counts examples; remove unit: tokens, or "
                "use mixture: uniform for equal shares of tokens"
            )
        return self


class AdaptArgs(BaseModel):
    """Mixed into Axolotl's own schema. `adapt` is required: without it the plugin would be off."""

    adapt: AdaptConfig


def axolotl_says(error: ValidationError) -> list[str]:
    """A line for each mistake that Axolotl's own schema found in a recipe."""
    return [
        f"{'.'.join(map(str, one['loc'])) or 'recipe'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    ]
