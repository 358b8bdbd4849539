"""The keys of `adapt.learned:`."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from adapt_axolotl.config.block import Block, share_of
from adapt_axolotl.mixture.doge import MU
from adapt_axolotl.mixture.gradient_steps import ENTROPY_WEIGHT as STEPS_ENTROPY_WEIGHT
from adapt_axolotl.mixture.gradient_steps import STEP_SIZE, check_step
from adapt_axolotl.mixture.learned import ENTROPY_WEIGHT
from adapt_axolotl.mixture.learning_curves import ENTROPY_WEIGHT as CURVES_ENTROPY_WEIGHT
from adapt_axolotl.mixture.objectives.alpha_fair import ALPHA
from adapt_axolotl.mixture.objectives.cvar import LEVEL
from adapt_axolotl.mixture.objectives.named import OBJECTIVES, READ_BY

Measure = Literal["training_losses", "loss_falls", "products"]
EstimatorName = Literal["auto", "in_backward", "split_batches", "finite_difference", "per_task"]

# Of the time of a run that meta steps may take.
OVERHEAD = 0.04


class LearnedConfig(Block):
    """How the mixture learns; read only with `mixture: learned` and `doge`."""

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
    keep: str | None = Field(
        default=None,
        min_length=1,
        description="Output directory of a finished run over the same tasks, such as the uniform "
        "twin: each task that is no target is to end below its last validation loss there and "
        "`keep_margin`, as by `bounds`.",
    )
    keep_margin: str | float = Field(
        default="10%",
        description="For `keep`: how far above its loss in that run a task may end.",
    )
    reference_losses: dict[str, float] | None = Field(
        default=None,
        description="Irreducible loss per supervised token of every task, for `objective: excess`.",
    )
    targets: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Tasks that alone count in the objective; default: those named by `target:` in "
        "`test_datasets`, or else all. The others get less "
        "the less they help, `adapt.floor` of their initial share at least; set that higher to "
        "keep what they teach. Only `measure: products` sees that one task helps another; "
        "`adapt-axolotl effects` tells after the run which one helped which.",
    )
    measure: Measure = Field(
        default="training_losses",
        description="What tells the worth of a task. `training_losses`: how fast the loss falls of "
        "rows that training sees for the first time, and of a few validation rows of tasks that "
        "have none left (2 % of the time at most). "
        "`loss_falls`: how far the loss of validation rows has fallen, by forwards of its own. "
        "`products`: the paper's gradient products, the validation gradient "
        "times that of each task.",
    )
    rule: Literal["evidence", "steps", "doge"] = Field(
        default="evidence",
        description="How the mixture follows. `evidence`: from all measurements so far, shrunk by "
        "their noise; where nothing stands out from noise the mixture stays at its initial one. "
        "`steps`: the paper's, a step of `step_size` at each meta step. `doge`: that of DoGE, by "
        "gradient products as they are; `mixture: doge` is the short way to it.",
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
        "the training backward; `split_batches` takes the rows of one task at a time in the steps "
        "that are read; `finite_difference` and `per_task` (the reference) use rows of their own. "
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
    mu: float = Field(
        default=MU,
        gt=0,
        description="For `rule: doge`: what holds the mixture back. At a meta step the logarithm "
        "of a share moves by the learning rate over this, times the task's gradient product with "
        "all that count.",
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
    def _level_is_ashare_of(cls, value: Any) -> float | None:
        share = None if value is None else share_of(value)
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
    def _start_is_ashare_of(cls, value: Any) -> float:
        share = share_of(value)
        if not 0 <= share < 1:
            raise ValueError(f"{value!r} is no share of the budget; write a percentage, as in 6%")
        return share

    @field_validator("keep_margin", mode="before")
    @classmethod
    def _margin_is_a_share(cls, value: Any) -> float:
        share = share_of(value)
        if not 0 <= share < math.inf:
            raise ValueError(f"{value!r} is no part of a loss; write a percentage, as in 10%")
        return share

    @field_validator("overhead", mode="before")
    @classmethod
    def _overhead_is_ashare_of(cls, value: Any) -> float:
        share = share_of(value)
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
        if self.rule != "doge" and self.mu != MU:
            raise ValueError("mu is read with rule: doge only; remove it, or choose mixture: doge")
        if self.rule == "doge" and self.entropy_weight is not None:
            raise ValueError(
                "entropy_weight is not read with rule: doge, which does not pull towards the "
                "initial mixture; remove it, or set mu"
            )
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
    def _doge_is_of_products(self) -> LearnedConfig:
        if self.rule == "doge" and (self.measure, self.objective) != ("products", "mean"):
            raise ValueError(
                "rule: doge goes with measure: products and objective: mean; write mixture: doge, "
                "which sets all three"
            )
        if self.rule == "doge" and (self.bounds or self.keep):
            raise ValueError(
                "rule: doge has no bounds; remove bounds and keep, or choose mixture: learned"
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
