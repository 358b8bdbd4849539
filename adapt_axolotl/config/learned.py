"""The keys of `adapt.learned:`: how the worth of a task is measured, and how the mixture follows;
what it is to lower is in `objective.py`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from adapt_axolotl.config.block import share_of
from adapt_axolotl.config.objective import ObjectiveKeys
from adapt_axolotl.mixture.doge import MU
from adapt_axolotl.mixture.gradient_steps import ENTROPY_WEIGHT as STEPS_ENTROPY_WEIGHT
from adapt_axolotl.mixture.gradient_steps import STEP_SIZE, check_step
from adapt_axolotl.mixture.learned import ENTROPY_WEIGHT
from adapt_axolotl.mixture.learning_curves import ENTROPY_WEIGHT as CURVES_ENTROPY_WEIGHT

Measure = Literal["training_losses", "loss_falls", "products"]
EstimatorName = Literal["auto", "in_backward", "split_batches", "finite_difference", "per_task"]

# Of the time of a run that meta steps may take.
OVERHEAD = 0.04


class LearnedConfig(ObjectiveKeys):
    """How the mixture learns; read only with `mixture: learned` and `doge`."""

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

    @field_validator("start_after", mode="before")
    @classmethod
    def _start_is_ashare_of(cls, value: Any) -> float:
        share = share_of(value)
        if not 0 <= share < 1:
            raise ValueError(f"{value!r} is no share of the budget; write a percentage, as in 6%")
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
