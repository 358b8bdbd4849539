"""Write docs/keys.md, every key of the `adapt:` block, from the classes that check it, and
docs/yaml_keys.md, what other keys mean beside it. `--check` fails when a file on disk is not what
this makes.

    python docs/keys.py [--check]
"""

from __future__ import annotations

import re
import sys
import typing

from generated import write_or_check
from pydantic.fields import FieldInfo

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.block import Block
from adapt_axolotl.config.learned import LearnedConfig
from adapt_axolotl.config.methods import MethodKeys
from adapt_axolotl.config.objective import ObjectiveKeys
from adapt_axolotl.config.phase import Phase
from adapt_axolotl.recipe.block import BOUNDS
from adapt_axolotl.recipe.meanings import MEANINGS, REFUSALS
from adapt_common.markdown import table

# Filled in by the plugin from `datasets:` and `test_datasets:`.
NOT_THE_USERS = ("train_tasks", "test_tasks", "target_tasks", "target_weights", "learned")
TEXT = """\
# The keys of `adapt:`

Written by `docs/keys.py` from [config/](../adapt_axolotl/config), where each key has its
meaning and its check. A key that is not here is refused. `axolotl train` takes no options for these
keys: change them in the recipe, or start the training module itself
([how](yaml_keys.md#on-the-command-line)). What the other keys of a recipe mean beside this block:
[yaml_keys.md](yaml_keys.md).

The *training pool* of a task is its rows without those held out for validation, those left out as
too long and those with no supervised token. A *meta step* is one measurement of the tasks and the
update of the mixture that follows it ([how it works](how_it_works.md)).

{adapt}

## Keys of single mixtures

In the `adapt:` block too. A mixture that does not read a key refuses it.

{methods}

## `adapt.learned`

Read with `mixture: learned` and `mixture: doge` only.

{learned}

## `adapt.phases[]`

Read with `mixture: phases`. A phase that ends within an optimizer step ends after it.

{phase}

## `datasets[].task`, `test_datasets[].task`

The task that the entry's rows belong to; entries may share one. Without it, the entry's path.

## `test_datasets[].target`

In place of `task:`: the name of what the mixture is to be good at. Where an entry has it, only
targets count in the objective. A target may be a training task or have no training rows at all;
what helps it is then told by gradient products (`measure: products`). Its rows are not trained on.
"""


YAML_TEXT = """\
# What your YAML's keys mean here

Written by `docs/keys.py` from [meanings.py](../adapt_axolotl/recipe/meanings.py). Every key of
Axolotl that is in neither table means what it means without the plugin. Where a recipe has a key of
this first table with a value that means something else here, the log says so once before training,
and so does `adapt-axolotl init`. A *training pool* is the rows that a task is drawn from, without
those held out for validation.

{meanings}

## What is refused

A run with one of these stops with a message that says what to change, most of them before the model
is loaded. `adapt-axolotl validate` finds those that the recipe alone shows.

{refusals}

## On the command line

`axolotl train recipe.yml --learning-rate 1e-4` changes any key of Axolotl's own. Keys of the
`adapt:` block are no options of that command: `--adapt.token_budget 10%` is refused, by the
launcher or by the plugin, instead of being dropped. Write them in the recipe, or start the training
module itself, which takes one level of keys:

    accelerate launch -m axolotl.cli.train recipe.yml --adapt__token_budget=10%
"""


def main() -> int:
    meanings = [(names(one.keys), one.here) for one in MEANINGS]
    refusals = [(names(one.keys), one.when) for one in REFUSALS]
    pages = {
        "keys.md": TEXT.format(
            adapt=keys(AdaptConfig),
            methods=keys(MethodKeys),
            learned=keys(ObjectiveKeys, LearnedConfig),
            phase=keys(Phase),
        ),
        "yaml_keys.md": YAML_TEXT.format(
            meanings=table(("key", "here"), meanings),
            refusals=table(("key", "refused"), refusals),
        ),
    }
    return write_or_check(pages, __file__)


def names(keys: tuple[str, ...]) -> str:
    """Of a line of a table."""
    return ", ".join(f"`{key}`" for key in keys)


def keys(*blocks: type[Block]) -> str:
    """The table of the blocks' own keys."""
    rows = [
        (f"`{name}`", values(field), default(field), field.description or "")
        for block in blocks
        for name, field in block.model_fields.items()
        if name in block.__annotations__ and name not in NOT_THE_USERS
    ]
    return table(("key", "values", "default", "meaning"), rows)


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
    sys.exit(main())
