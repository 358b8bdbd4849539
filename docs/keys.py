"""Write docs/keys.md: every key of the `adapt:` block, from the classes that check it. `--check`
fails when the file on disk is not what this makes.

    python docs/keys.py [--check]
"""

from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from adapt_axolotl.config import AdaptConfig, Block, LearnedConfig
from adapt_eval.report.markdown import table

PAGE = Path(__file__).resolve().parent / "keys.md"
# Filled in by the plugin from `datasets:` and `test_datasets:`.
NOT_THE_USERS = ("train_tasks", "test_tasks", "learned")
BOUNDS = {Ge: "at least {.ge}", Gt: "above {.gt}", Le: "at most {.le}", Lt: "below {.lt}"}
TEXT = """\
# The keys of `adapt:`

Written by `docs/keys.py` from [config.py](../adapt_axolotl/config.py), where each key has its
meaning and its check. A key that is not here is refused. They are changed in the file, not on the
command line.

{adapt}

## `adapt.learned`

Read with `mixture: learned` only.

{learned}

## `datasets[].task`, `test_datasets[].task`

The task that the entry's rows belong to; entries may share one. Without it, the entry's path.
"""


def main(arguments: list[str]) -> int:
    content = TEXT.format(adapt=keys(AdaptConfig), learned=keys(LearnedConfig))
    if "--check" not in arguments:
        PAGE.write_text(content, encoding="utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != content:
        print("docs/keys.md is out of date; run python docs/keys.py")
        return 1
    return 0


def keys(block: type[Block]) -> str:
    """The table of a block's keys."""
    rows = [
        (f"`{name}`", values(field), default(field), field.description or "")
        for name, field in block.model_fields.items()
        if name not in NOT_THE_USERS
    ]
    return table(("key", "values", "default", "meaning"), rows, set())


def values(field: FieldInfo) -> str:
    """What may be written: the choices, or the type with its bounds."""
    if "Literal" in str(field.annotation):
        return ", ".join(f"`{one}`" for one in re.findall(r"'(\w+)'", str(field.annotation)))
    types = typing.get_args(field.annotation) or (field.annotation,)
    words = [str(getattr(one, "__name__", one)) for one in types if one is not type(None)]
    bounds = [BOUNDS[type(one)].format(one) for one in field.metadata if type(one) in BOUNDS]
    return " ".join([" or ".join(words), ", ".join(bounds)]).strip()


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default is None else f"`{str(field.default).lower()}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
