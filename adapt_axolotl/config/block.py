"""What the parts of the `adapt:` block have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


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


def share_of(value: Any) -> float:
    """Of a percentage or a number; -1 where it is neither."""
    text = str(value).strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return -1.0
