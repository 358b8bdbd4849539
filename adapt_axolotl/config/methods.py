"""The keys of methods other than `mixture: learned`, and of mixtures that come from another run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from adapt_axolotl.config.block import Block
from adapt_axolotl.mixture.doremi import SMOOTHING
from adapt_axolotl.mixture.doremi import STEP_SIZE as DOREMI_STEP_SIZE
from adapt_axolotl.mixture.group_dro import STEP_SIZE as GROUP_DRO_STEP_SIZE
from adapt_axolotl.mixture.odm import REWARD_DECAY
from adapt_axolotl.mixture.replayed import ReplayedAs

# Mixtures that take meta steps, with the settings of `adapt.learned`.
BY_META_STEPS = ("learned", "doge")
# Mixtures that move with the training losses of each step.
BY_LOSSES = ("odm", "group_dro", "doremi")
# Who found the methods that are not this project's, and where to read it.
SOURCES = {
    "odm": "ODM, arXiv 2312.02406",
    "group_dro": "group DRO, arXiv 1911.08731",
    "doremi": "DoReMi, arXiv 2305.10429",
    "doge": "DoGE, arXiv 2310.15393",
}

# Of each key the mixtures that read it, and of a mixture the key that it needs.
READ_WITH = {
    "replay": ("replay",),
    "replay_as": ("replay",),
    "reference": ("doremi", "group_dro"),
    "step_size": ("group_dro", "doremi"),
    "smoothing": ("doremi",),
    "reward_decay": ("odm",),
}
NEEDS = {"replay": "replay", "doremi": "reference"}

# What `mixture: doge` is a name for.
DOGE = {"measure": "products", "objective": "mean", "rule": "doge"}


class MethodKeys(Block):
    """Keys that single values of `mixture` read."""

    if TYPE_CHECKING:
        mixture: str  # a key of the block itself

    replay: str | None = Field(
        default=None,
        description="For `mixture: replay`: the `output_dir` of a finished run over the same "
        "tasks, whose mixtures are drawn again.",
    )
    replay_as: ReplayedAs | None = Field(
        default=None,
        description="For `mixture: replay`: `average` (default), the average of that run over its "
        "tokens; `schedule`, its mixture at the same share of the run, as its `history.jsonl` has "
        "it; or as a control the schedule with the tasks `permuted` (none keeps its place), with "
        "time `reversed`, or with its pieces `shuffled`; or a random `walk`, on average as far "
        "from where it began. "
        "Which one is by the seed.",
    )
    reference: str | None = Field(
        default=None,
        description="For `mixture: doremi`, or `group_dro`: the `output_dir` of a finished run "
        "over the same tasks; what counts is by how much a task's loss is above its last "
        "validation loss there.",
    )
    step_size: float | None = Field(
        default=None,
        gt=0,
        description="How far the logarithm of a share moves for each nat of loss, at each "
        f"optimizer step. Default: the paper's, {GROUP_DRO_STEP_SIZE:g} for `mixture: group_dro` "
        f"and {DOREMI_STEP_SIZE:g} for `doremi`.",
    )
    smoothing: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="For `mixture: doremi`: share of the uniform mixture in every one. Default: "
        f"{SMOOTHING:g}.",
    )
    reward_decay: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="For `mixture: odm`: weight of the losses before in the reward of a task, at "
        f"each step that draws it. Default: {REWARD_DECAY:g}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _doge_is_a_way_of_learning(cls, block: Any) -> Any:
        if not isinstance(block, dict) or block.get("mixture") != "doge":
            return block
        learned = block.get("learned") or {}
        if not isinstance(learned, dict):
            return block
        for key, value in DOGE.items():
            if learned.get(key, value) != value:
                raise ValueError(
                    f"learned.{key}: mixture: doge is {key}: {value}; remove it, or choose "
                    "mixture: learned"
                )
        return {**block, "learned": {**learned, **DOGE}}

    @model_validator(mode="after")
    def _the_mixture_reads_its_keys(self) -> MethodKeys:
        for key, readers in READ_WITH.items():
            if getattr(self, key) is not None and self.mixture not in readers:
                raise ValueError(
                    f"{key} is read with mixture: {' or '.join(readers)} only; remove it, or "
                    f"choose mixture: {readers[0]}"
                )
        needed = NEEDS.get(self.mixture)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(
                f"mixture: {self.mixture} needs {needed}:, the output_dir of a finished run over "
                f"the same tasks; add it, as in {needed}: runs/uniform"
            )
        return self

    @property
    def earlier(self) -> tuple[str, str] | None:
        """(key, folder) of the run that the mixture comes from; None where there is none."""
        for key in ("replay", "reference"):
            if (folder := getattr(self, key)) is not None:
                return key, folder
        return None

    @property
    def takes_meta_steps(self) -> bool:
        return self.mixture in BY_META_STEPS

    @property
    def follows_losses(self) -> bool:
        return self.mixture in BY_LOSSES
