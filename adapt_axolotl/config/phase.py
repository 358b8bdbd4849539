"""The keys of one entry of `adapt.phases:`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from adapt_axolotl.config.block import Block, share_of

TEMPERATURE = 2.0


class Phase(Block):
    """A static mixture for a part of the run."""

    until: str | float | None = Field(
        default=None,
        description="Share of the run at which the phase ends, counted as the budget is, from the "
        "start of the run: `60%`. The last phase has none.",
    )
    mixture: Literal["uniform", "proportional", "temperature", "weights"] = Field(
        description="As `adapt.mixture`.",
    )
    temperature: float = Field(
        default=TEMPERATURE, gt=0, description="As `adapt.temperature`, for `mixture: temperature`."
    )
    weights: dict[str, float] | None = Field(
        default=None,
        description="As `adapt.weights`, for `mixture: weights`; 0 leaves a task out of the phase.",
    )

    @field_validator("until", mode="before")
    @classmethod
    def _end_is_a_share(cls, value: Any) -> float | None:
        share = None if value is None else share_of(value)
        if share is not None and not 0 < share < 1:
            raise ValueError(f"{value!r} is no share of the run; write a percentage, as in 60%")
        return share

    @model_validator(mode="after")
    def _weights_are_read(self) -> Phase:
        if (self.mixture == "weights") != (self.weights is not None):
            raise ValueError(
                "mixture: weights and the weights: mapping go together; add the one that is "
                "missing, or remove the other"
            )
        return self
