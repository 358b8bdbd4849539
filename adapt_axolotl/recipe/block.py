"""The raw `adapt:` block, checked: every mistake at once, each a sentence with its remedy."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.block import Block
from adapt_axolotl.config.learned import LearnedConfig
from adapt_axolotl.config.phase import Phase

# Filled in by the plugin.
_NOT_THE_USERS = ("train_tasks", "test_tasks", "target_tasks", "target_weights")
_A_PHASE = "{until: 60%, mixture: uniform}"
BOUNDS = {Ge: "at least {.ge}", Gt: "above {.gt}", Le: "at most {.le}", Lt: "below {.lt}"}


def parse_adapt_block(raw: object, tasks: Sequence[str] = ()) -> AdaptConfig:
    """Check a raw `adapt:` block.

    Args:
        raw: the block.
        tasks: names of the recipe's tasks, for examples in messages.

    Raises:
        ValueError: one message that lists every mistake with its key and its remedy.
    """
    if raw is None:
        raise ValueError(
            "adapt: this block is missing; add\n"
            "  adapt:\n    token_budget: 5%\n"
            "or remove the plugin (see the recipes/ folder for whole examples)"
        )
    if not isinstance(raw, Mapping):
        raise ValueError(f"adapt: must be a block of keys, such as token_budget: 5%; got {raw!r}")
    try:
        return AdaptConfig.model_validate({str(key): value for key, value in raw.items()})
    except ValidationError as error:
        problems = [_sentence(problem, tasks) for problem in error.errors()]
    raise ValueError("the adapt: block has mistakes:\n  - " + "\n  - ".join(problems))


def _sentence(problem: Any, tasks: Sequence[str]) -> str:
    """One line for one of pydantic's errors."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(["adapt", *path])
    block, place = _block_of(path)
    if problem["type"] == "extra_forbidden":
        return f"{key}: {_unknown(path[-1], block)}"
    if problem["type"] == "missing":
        example = "5%" if block is AdaptConfig else "uniform"
        return f"{key}: missing; add it, for example {path[-1]}: {example}"
    if problem["type"] == "value_error":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    if place == []:
        return f"{key}: must be a block of keys; got {problem['input']!r}; write {_A_PHASE}"
    field = block.model_fields[place[0]]
    value = problem["input"]
    got = "it is empty" if value is None or value == "" else f"got {value!r}"
    if len(place) > 1 and (list in _kinds(field) or len(place) > 2):
        return f"{key}: must be a name; {got}; write it in quotes"
    if len(place) > 1 and _of_lists(field):
        return f"{key}: must be a list of task names; {got}; write {place[1]}: [one_task]"
    if len(place) > 1 and "dict[str, int" in str(field.annotation):
        return f"{key}: must be a whole number; {got}; write one, as in {place[1]}: 200_000"
    if len(place) > 1:
        return f"{key}: must be a number; {got}; write one, as in {place[1]}: 1.5"
    return f"{key}: must be {allowed(field)}; {got}; {_remedy(place[0], field, value, tasks)}"


def _block_of(path: list[str]) -> tuple[type[Block], list[str]]:
    """The block in which a mistake is, and where in it."""
    if path[:1] == ["learned"] and path[1:]:
        return LearnedConfig, path[1:]
    if path[:1] == ["phases"] and path[1:]:
        return Phase, path[2:]
    return AdaptConfig, path


def _unknown(name: str, block: type[Block]) -> str:
    own = [one for one in block.model_fields if one in block.__annotations__]
    known = [one for one in dict.fromkeys([*own, *block.model_fields]) if one not in _NOT_THE_USERS]
    if close := difflib.get_close_matches(name, known, n=1):
        return f"no such key; did you mean {close[0]}?"
    if name in LearnedConfig.model_fields:
        return "no such key here; it belongs under adapt.learned"
    return f"no such key; the keys are {', '.join(known)}"


def allowed(field: FieldInfo) -> str:
    """What a key takes, in words."""
    kinds = _kinds(field)
    if choices := _choices(field):
        return f"one of {', '.join(choices)}"
    if _of_lists(field):
        return "a mapping of names to lists of task names"
    if dict in kinds:
        return "a mapping of task names to numbers"
    if _of_phases(field):
        return "a list of blocks of keys"
    if list in kinds:
        return "a list of task names, one or more"
    if bool in kinds:
        return "true or false"
    if any(isinstance(kind, type) and issubclass(kind, Block) for kind in kinds):
        return "a block of keys"
    bounds = [BOUNDS[type(one)].format(one) for one in field.metadata if type(one) in BOUNDS]
    words = "a whole number" if int in kinds else "a number"
    if bounds:
        words += f" {'of ' if bounds[0].startswith('at') else ''}{' and '.join(bounds)}"
    return words


def _remedy(name: str, field: FieldInfo, value: Any, tasks: Sequence[str]) -> str:
    choices = _choices(field)
    if close := difflib.get_close_matches(str(value), choices, n=1):
        return f"did you mean {close[0]}?"
    if _of_lists(field):
        return f"write {name}: {{one_group: [{', '.join(list(tasks)[:2]) or 'one_task'}]}}"
    if dict in _kinds(field):
        numbers = value if isinstance(value, list) else []
        names = list(tasks) or ["one_task", "another_task"]
        shares = numbers if len(numbers) == len(names) else [1] * len(names)
        pairs = ", ".join(f"{task}: {share}" for task, share in zip(names, shares, strict=True))
        return f"write {name}: {{{pairs}}}"
    if _of_phases(field):
        return f"write {name}: [{_A_PHASE}, {{mixture: proportional}}]"
    if list in _kinds(field):
        return f"write {name}: [{', '.join(list(tasks)[:2]) or 'one_task, another_task'}]"
    if field.default_factory is not None:
        return f"write its keys below {name}:, or remove it"
    if field.default is None:
        return "correct it, or remove the key"
    return f"correct it, or remove the key, whose default is {str(field.default).lower()}"


def _kinds(field: FieldInfo) -> set[Any]:
    """The types that a key takes, without their arguments."""
    kinds = get_args(field.annotation) or (field.annotation,)
    if typing.get_origin(field.annotation) is dict:
        return {dict}
    return {typing.get_origin(kind) or kind for kind in kinds if kind is not type(None)}


def _of_phases(field: FieldInfo) -> bool:
    return any(get_args(kind) == (Phase,) for kind in get_args(field.annotation))


def _of_lists(field: FieldInfo) -> bool:
    """Whether a key takes a mapping of names to lists."""
    return "dict[str, list" in str(field.annotation)


def _choices(field: FieldInfo) -> list[str]:
    """The words that a key takes, if it takes no others."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if typing.get_origin(kind) is typing.Literal:
            return list(get_args(kind))
    return []
