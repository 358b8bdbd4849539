"""From a mapping that was read to a typed record, or one message about what is wrong in it."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Kind = TypeVar("Kind", bound=BaseModel)

_SHOWN = 3  # problems in one message
# By pydantic's name of the error, up to its first underscore.
_EXPECTED = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "an object",
    "model": "an object",
    "list": "a list",
    "tuple": "a list",
}


def parse(kind: type[Kind], content: Any, where: object, remedy: str) -> Kind:
    """
    Args:
        content: what was read, of plain Python types.
        where: file, for the message.
        remedy: what the user can do, for the message.

    Raises:
        ValueError: a key is missing or has a value of another type.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = [_problem(one) for one in error.errors()]
        said = "; ".join(found[:_SHOWN])
        if len(found) > _SHOWN:
            said += f"; and {len(found) - _SHOWN} more"
        raise ValueError(f"{where}: {said}; {remedy}") from error


def _problem(one: Any) -> str:
    key = ".".join(str(part) for part in one["loc"]) or "the content"
    if one["type"] == "missing":
        return f"{key} is missing"
    found = json.dumps(one["input"], default=str)
    if len(found) > 40:
        found = found[:40] + "..."
    expected = _EXPECTED.get(one["type"].partition("_")[0])
    return f"{key} is {found}" + (f", not {expected}" if expected else f": {one['msg'].lower()}")
