"""The `adapt:` block of a recipe: each key with its meaning and its check.

There are two ways in. `recipe/block.py` reads the raw YAML before Axolotl does and reports every
mistake at once, each with its remedy; `AdaptArgs` hands the block to Axolotl's own schema, where it
is required, so that a misspelt block stops the run instead of training without the plugin.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from adapt_axolotl.budget.amount import TokenBudget
from adapt_axolotl.mixture.gradient_steps import ENTROPY_WEIGHT as STEPS_ENTROPY_WEIGHT
from adapt_axolotl.mixture.gradient_steps import STEP_SIZE, check_step
from adapt_axolotl.mixture.learned import ENTROPY_WEIGHT, FLOOR
from adapt_axolotl.mixture.learning_curves import ENTROPY_WEIGHT as CURVES_ENTROPY_WEIGHT
from adapt_axolotl.mixture.objectives.alpha_fair import ALPHA
from adapt_axolotl.mixture.objectives.cvar import LEVEL
from adapt_axolotl.mixture.objectives.named import OBJECTIVES, READ_BY

MixtureName = Literal["learned", "uniform", "proportional", "temperature", "weights", "round_robin"]
Measure = Literal["training_losses", "loss_falls", "products"]
EstimatorName = Literal["auto", "in_backward", "finite_difference", "per_task"]


# Of the time of a run that meta steps may take.
OVERHEAD = 0.04


class Block(BaseModel):
    """A part of the `adapt:` block: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_yaml_means_it(cls, value: Any, info: ValidationInfo) -> Any:
        """True is no number, and a task may have a number for its name."""
        assert info.field_name is not None
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise PydanticCustomError("wrong_kind", "another kind")
        if isinstance(value, dict):
            return {str(key): one for key, one in value.items()}
        return value


class LearnedConfig(Block):
    """How the mixture learns; read only with `mixture: learned`."""

    objective: str = Field(
        default="worst_case",
        description="What the validation losses are folded into. `worst_case`: smooth worst case "
        "of each loss over its first value, its sharpness in units of their spread over tasks, no "
        "task above twice its equal share: the tasks that lag behind count most, however close "
        "together they all are. `relative`: the same with a fixed sharpness, smoothed. `paper`: "
        "the paper's raw smooth worst case. `cvar`: the mean of the worst tasks (`level`). "
        "`alpha_fair`: by powers of the loss (`alpha`). `worst_group`: `worst_case` over `groups`. "
        "Others: `raw`, `mean`, `excess` (needs `reference_losses`). Which one when: "
        "[objectives](objectives.md).",
    )
    beta: float | None = Field(
        default=None,
        ge=0,
        description="Sharpness of the worst case: 0 is the mean, large is the maximum. Default: "
        "the objective's own.",
    )
    level: str | float | None = Field(
        default=None,
        description=f"For `objective: cvar`: the share of the tasks, the worst ones, that count. "
        f"Default: {LEVEL:.0%}.",
    )
    alpha: float | None = Field(
        default=None,
        ge=0,
        description="For `objective: alpha_fair`: a task left at twice the loss counts 2 to this "
        f"power times as much; 0 is the mean. Default: {ALPHA:g}.",
    )
    groups: dict[str, list[str]] | None = Field(
        default=None,
        description="For `objective: worst_group`: the tasks of each group, as in `{maths: [gsm, "
        "algebra], chat: [sharegpt]}`. A task in none is a group by itself.",
    )
    bounds: dict[str, float] | None = Field(
        default=None,
        description="Losses, nats per supervised token, that tasks are to end below while the "
        "objective is lowered over the others (or over `targets`). A bounded task counts the more "
        "the longer it is not kept (`multipliers` in `history.jsonl`), and not at all while "
        "it is.",
    )
    reference_losses: dict[str, float] | None = Field(
        default=None,
        description="Irreducible loss per supervised token of every task, for `objective: excess`.",
    )
    targets: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Tasks that alone count in the objective; default: all. The others get less "
        "the less they help, `adapt.floor` of their initial share at least; set that higher to "
        "keep what they teach. Only `measure: products` sees that one task helps another.",
    )
    measure: Measure = Field(
        default="training_losses",
        description="What tells the worth of a task. `training_losses`: how fast the loss falls of "
        "rows that training sees for the first time; takes nothing but the training itself. "
        "`loss_falls`: how far the loss of validation rows has fallen, by forwards of its own. "
        "`products`: the paper's gradient products, the validation gradient "
        "times that of each task.",
    )
    rule: Literal["evidence", "steps"] = Field(
        default="evidence",
        description="How the mixture follows. `evidence`: from all measurements so far, shrunk by "
        "their noise; where nothing stands out from noise the mixture stays at its initial one. "
        "`steps`: the paper's, a step of `step_size` at each meta step.",
    )
    overhead: str | float = Field(
        default=f"{OVERHEAD:.0%}",
        description="Not for `training_losses`, which cost next to nothing. Share of the run's "
        "time that meta steps may take, and, for `loss_falls` with `charge_meta_tokens`, of the "
        "budget. How often they run and how much they read follows from it, from the number of "
        "steps and tasks, and from what each kind of pass costs; `plan` tells.",
    )
    initial: Literal["uniform", "proportional", "temperature", "weights"] = Field(
        default="uniform",
        description="The mixture that a run starts with, and stays at without evidence: `uniform`, "
        "`proportional`, `temperature` (with `adapt.temperature`) or `weights` (with "
        "`adapt.weights`).",
    )
    estimator: EstimatorName = Field(
        default="auto",
        description="For `measure: products`: how they are measured. `in_backward` reads them off "
        "the training backward; `finite_difference` and `per_task` (the reference) use rows of "
        "their own. "
        "`auto` takes the cheapest that fits the model and the batch, and says which.",
    )
    update_every: int | None = Field(
        default=None,
        ge=1,
        description="Not for `training_losses`, whose mixture moves whenever the tokens trained on "
        "have grown by 15 %. Optimizer steps from one meta step to the next. Default: what "
        "`overhead` allows.",
    )
    start_after: str | float = Field(
        default="6%",
        description="Share of the token budget before anything is measured: the first steps say "
        "little of the later ones. By training losses the mixture first moves at about 1.75 times "
        "it.",
    )
    rows_per_task: int | None = Field(
        default=None,
        ge=2,
        description="Not for `training_losses`. Validation rows of every task in a meta step, "
        "drawn afresh each time; "
        "`loss_falls` measures those of the time before again, and `products` as many "
        "training rows again where the estimator uses rows of its own. Default: what `overhead` "
        "allows, 2 at least.",
    )
    step_size: float = Field(
        default=STEP_SIZE,
        gt=0,
        description="For `rule: steps`: how far the logits move in one meta step.",
    )
    entropy_weight: float | None = Field(
        default=None,
        ge=0,
        description="Pull towards the initial mixture. With `rule: evidence` (default "
        f"{CURVES_ENTROPY_WEIGHT:g} with `training_losses`, else {ENTROPY_WEIGHT:g}) a task that "
        "is worth r times the mean at the initial mixture gets r to the power of 1 / (1 + this), "
        f"as a multiple of its initial share; with `rule: steps` (default "
        f"{STEPS_ENTROPY_WEIGHT:g}) it settles at a log ratio of its standardised score over this.",
    )
    look_ahead: bool = Field(
        default=False,
        description="For `measure: products`: take the validation gradient after a trial inner "
        "step (the paper's form) instead of at the current weights; costs one more backward.",
    )

    @field_validator("objective", mode="before")
    @classmethod
    def _objective_exists(cls, value: Any) -> Any:
        if not isinstance(value, str) or value not in OBJECTIVES:
            raise ValueError(f"{value!r} is no objective; choose from {', '.join(OBJECTIVES)}")
        return value

    @field_validator("level", mode="before")
    @classmethod
    def _level_is_a_share(cls, value: Any) -> float | None:
        share = None if value is None else _share(value)
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"{value!r} is no share of the tasks; write a percentage, as in 25%")
        return share

    @field_validator("bounds")
    @classmethod
    def _bounds_are_losses(cls, bounds: dict[str, float] | None) -> dict[str, float] | None:
        for task, bound in (bounds or {}).items():
            if not bound > 0:
                raise ValueError(
                    f"{task}: {bound:g} is a loss that nothing gets below; write one above 0, in "
                    "nats per supervised token, as in 1.2"
                )
        return bounds or None

    @field_validator("start_after", mode="before")
    @classmethod
    def _start_is_a_share(cls, value: Any) -> float:
        share = _share(value)
        if not 0 <= share < 1:
            raise ValueError(f"{value!r} is no share of the budget; write a percentage, as in 6%")
        return share

    @field_validator("overhead", mode="before")
    @classmethod
    def _overhead_is_a_share(cls, value: Any) -> float:
        share = _share(value)
        if not 0 < share <= 1:
            raise ValueError(
                f"{value!r} is no share of the run's time; write a percentage, as in 4%"
            )
        return share

    @property
    def pull(self) -> float:
        """The entropy weight of the rule and the measure in force."""
        if self.entropy_weight is not None:
            return self.entropy_weight
        if self.rule == "steps":
            return STEPS_ENTROPY_WEIGHT
        return CURVES_ENTROPY_WEIGHT if self.measure == "training_losses" else ENTROPY_WEIGHT

    @model_validator(mode="after")
    def _the_rule_settles(self) -> LearnedConfig:
        if self.rule == "steps":
            check_step(self.step_size, self.pull)
        elif self.step_size != STEP_SIZE:
            raise ValueError(
                "step_size is read with rule: steps only; remove it, or add rule: steps"
            )
        elif not self.pull > 0:
            raise ValueError(
                "entropy_weight: 0 leaves nothing that holds the mixture; set it above 0, or "
                "choose rule: steps"
            )
        return self

    @model_validator(mode="after")
    def _training_losses_have_no_schedule(self) -> LearnedConfig:
        if self.measure != "training_losses":
            return self
        for key in ("overhead", "update_every", "rows_per_task"):
            # Not by `model_fields_set`: Axolotl hands on a block with its defaults written out.
            if getattr(self, key) not in (None, OVERHEAD):
                raise ValueError(
                    f"{key} is not read with measure: training_losses, the default, which makes no "
                    "passes of its own; remove it, or add measure: loss_falls"
                )
        if self.rule == "steps":
            raise ValueError(
                "rule: steps goes with measure: products or loss_falls; add one of them, or remove "
                "rule"
            )
        return self

    @model_validator(mode="after")
    def _products_have_keys_of_their_own(self) -> LearnedConfig:
        for key in ("estimator", "look_ahead"):
            if self.measure != "products" and getattr(self, key) not in ("auto", False):
                raise ValueError(
                    f"{key} is read with measure: products only; remove it, or add measure: "
                    "products"
                )
        return self

    @model_validator(mode="after")
    def _objective_reads_what_is_given(self) -> LearnedConfig:
        for key, readers in READ_BY.items():
            if self.objective not in readers and getattr(self, key) not in (None, {}):
                raise ValueError(
                    f"objective: {self.objective} does not read {key}; remove {key}, or choose "
                    f"objective: {readers[0]}"
                )
        if self.objective == "excess" and not self.reference_losses:
            raise ValueError(
                "objective: excess needs reference_losses; name one for every task, or "
                "choose objective: worst_case, which needs none"
            )
        if self.objective == "worst_group" and not self.groups:
            raise ValueError(
                "objective: worst_group needs groups; name the tasks of each, or choose "
                "objective: worst_case, which takes each task for one"
            )
        return self

    @model_validator(mode="after")
    def _tasks_have_one_part(self) -> LearnedConfig:
        targets, bounds, groups = self.targets or [], self.bounds or {}, self.groups or {}
        for task in set(targets) & set(bounds):
            raise ValueError(
                f"bounds: {task} is one of the targets too, whose losses are to fall as far as "
                "they can; remove it from one of the two"
            )
        members = [task for group in groups.values() for task in group]
        for task in members:
            if members.count(task) > 1:
                raise ValueError(f"groups: {task} is named more than once; leave it in one group")
        for group, tasks in groups.items():
            if not any(task not in bounds and task in (targets or tasks) for task in tasks):
                raise ValueError(
                    f"groups: {group} holds no task that counts: one without a bound and, where "
                    "targets are named, one of them; add one to it, or remove the group"
                )
        return self


def _share(value: Any) -> float:
    """Of a percentage or a number; -1 where it is neither."""
    text = str(value).strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return -1.0


class AdaptConfig(Block):
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
        "in turn).",
    )
    unit: Literal["tokens", "examples"] | None = Field(
        default=None,
        description="What a share counts. `tokens` (default): supervised tokens, which is what the "
        "budget counts and what a task's weight in the loss is proportional to; by examples, a "
        "task with answers ten times as long gets ten times the training. `round_robin` counts "
        "examples.",
    )
    temperature: float = Field(
        default=2.0,
        gt=0,
        description="For `mixture: temperature`: 1 is proportional, large is uniform.",
    )
    weights: dict[str, float] | None = Field(
        default=None,
        description="For `mixture: weights`, or `learned` with `initial: weights`: the share of "
        "every task, in any scale.",
    )
    floor: float = Field(
        default=FLOOR,
        ge=0,
        lt=1,
        description="Least share of a task under `mixture: learned`, as a part of its initial "
        "share.",
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
    charge_meta_tokens: bool = Field(
        default=False,
        description="Charge the supervised tokens of meta steps to the budget. They are reported "
        "beside it either way.",
    )
    learned: LearnedConfig = Field(
        default_factory=LearnedConfig, description="Settings of `mixture: learned`."
    )
    train_tasks: list[str] = Field(
        default_factory=list,
        description="Filled in by the plugin: the task of each entry of `datasets:`.",
    )
    test_tasks: list[str] = Field(
        default_factory=list,
        description="Filled in by the plugin: the task of each entry of `test_datasets:`.",
    )

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

    @model_validator(mode="after")
    def _keys_fit_together(self) -> AdaptConfig:
        if self.val_examples is not None and self.val_fraction is not None:
            raise ValueError("val_examples and val_fraction exclude each other; keep one of them")
        learned = self.mixture == "learned"
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
