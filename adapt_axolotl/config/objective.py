"""The keys of `adapt.learned:` that say what a mixture is to lower: an objective, over which tasks,
and bounds on the others."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator, model_validator

from adapt_axolotl.config.block import Block, share_of
from adapt_axolotl.mixture.objectives.alpha_fair import ALPHA
from adapt_axolotl.mixture.objectives.cvar import LEVEL
from adapt_axolotl.mixture.objectives.named import OBJECTIVES, READ_BY


class ObjectiveKeys(Block):
    """See the module docstring."""

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

    @field_validator("keep_margin", mode="before")
    @classmethod
    def _margin_is_a_share(cls, value: Any) -> float:
        share = share_of(value)
        if not 0 <= share < math.inf:
            raise ValueError(f"{value!r} is no part of a loss; write a percentage, as in 10%")
        return share

    @model_validator(mode="after")
    def _objective_reads_what_is_given(self) -> ObjectiveKeys:
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
    def _tasks_have_one_part(self) -> ObjectiveKeys:
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
