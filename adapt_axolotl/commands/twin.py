"""The static twin of a recipe: all the same but the mixture, so that two runs can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt_axolotl.config.methods import READ_WITH
from adapt_axolotl.recipe.block import parse_adapt_block
from adapt_axolotl.recipe.edit import RecipeText, as_scalar
from adapt_axolotl.records.read import read_finished_run

# What only a mixture that moves reads, and what goes with one mixture alone.
_LEFT_OUT = (
    "learned",
    "floor",
    "charge_meta_tokens",
    "weights",
    "phases",
    "final_temperature",
    *READ_WITH,
)
# Keys that name something of one run, which its twin would write over or go on with.
_OF_ONE_RUN = ("hub_model_id", "wandb_run_id", "resume_from_checkpoint")
_AXOLOTLS_OUTPUT = "./model-out"  # where a recipe without output_dir trains to


@dataclass(frozen=True)
class Twin:
    """A twin.

    Attributes:
        text: of the recipe.
        changed: a line for each change.
        shared: keys that still name something of the first run.
    """

    text: str
    changed: tuple[str, ...]
    shared: tuple[str, ...]


def recipe_of(source: Path) -> str:
    """The text of a recipe, from its file or from the output directory of a finished run.

    Raises:
        ValueError: a folder has no records of a finished run.
    """
    if source.is_dir():
        return read_finished_run(source).recipe
    # Bytes, because reading as text would change the line ends.
    return source.read_bytes().decode()


def static_twin(recipe: str, mixture: str) -> Twin:
    """The twin of a recipe: `adapt.mixture` and `output_dir` are others, keys of `adapt:` that it
    would not read are left out, and the rest is the same byte for byte.

    Args:
        recipe: the text of an ADAPT recipe.
        mixture: of the twin: uniform, proportional, temperature or round_robin.

    Raises:
        ValueError: the recipe has no `adapt:` block, or one with mistakes; it has this mixture
            already; its YAML cannot be changed line by line.
    """
    text = RecipeText(recipe)
    block: Any = text.values.get("adapt")
    if block is None:
        raise ValueError(
            "adapt: this block is missing, so there is no mixture to change; make an ADAPT recipe "
            "of it first, with `adapt-axolotl init`"
        )
    adapt = parse_adapt_block(block)
    if adapt.mixture == mixture:
        raise ValueError(
            f"adapt.mixture: is {mixture} already; choose another --mixture, or train it as it is"
        )
    left_out = [key for key in _LEFT_OUT if key in block]
    if mixture == "round_robin" and adapt.unit == "tokens":
        left_out.append("unit")  # it takes rows in turn
    if mixture == "round_robin" and adapt.tokens:
        left_out.append("tokens")
    for key in left_out:
        text.remove_inside("adapt", key)
    text.set_inside("adapt", "mixture", mixture)
    output = f"{text.values.get('output_dir') or _AXOLOTLS_OUTPUT}".rstrip("/") + f"_{mixture}"
    line = f"output_dir: {as_scalar(output)}"
    if "output_dir" in text.values:
        text.replace("output_dir", line)
    else:
        text.add(line)
    changed = [f"adapt.mixture: {mixture}", line, *(f"adapt.{key}: left out" for key in left_out)]
    shared = [key for key in _OF_ONE_RUN if text.values.get(key)]
    return Twin(text.result(), tuple(changed), tuple(shared))
