"""From a learned run to a static recipe: the mixture that it learned, as plain weights."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import yaml

from adapt_axolotl.config.methods import READ_WITH
from adapt_axolotl.recipe.edit import RecipeText, as_scalar
from adapt_axolotl.records.read import FinishedRun, read_finished_run

# What the new block says anew, and what only mixtures that move read.
_LEFT_OUT = (
    "mixture",
    "learned",
    "floor",
    "charge_meta_tokens",
    "weights",
    "temperature",
    *READ_WITH,
)


def freeze(folder: Path, which: Literal["average", "final"]) -> str:
    """The text of a recipe that draws what a run learned, with `mixture: weights`.

    It is the run's own recipe with another `adapt:` block and another `output_dir`; both mixtures
    keep the unit that the run's shares count, and the token budget stays.

    Args:
        folder: output directory of a finished learned run.
        which: the average of the mixture, weighted by the tokens trained under it, or the final
            one.

    Raises:
        ValueError: the run is not learned, learned nothing, has not ended, or has no records.
    """
    run = read_finished_run(folder)
    if not run.learned:
        raise ValueError(
            f"{folder}: its mixture is {run.config['mixture']}, which its recipe says already; "
            "give a run whose mixture moved by what it measured, such as mixture: learned"
        )
    if not run.moved:
        raise ValueError(
            f"{folder}: it took no meta step, so its mixture is still the first one; raise "
            "adapt.token_budget or adapt.learned.overhead, and train again"
        )
    recipe = RecipeText(run.recipe)
    trained = {
        task: share
        for task, share in run.mixture[which].items()
        if run.ledger["tasks"][task]["rows"]
    }
    recipe.replace("adapt", _block(recipe.values["adapt"], trained))
    output = f"output_dir: {as_scalar(run.config['recipe']['output_dir'] + '_frozen')}"
    if "output_dir" in recipe.values:
        recipe.replace("output_dir", output)
    else:
        recipe.add(output)
    return _heading(run, which) + _without_heading(recipe.result())


def _block(learned: dict[str, Any], weights: dict[str, float]) -> str:
    """The new `adapt:` block."""
    kept = {key: value for key, value in learned.items() if key not in _LEFT_OUT}
    block = {
        **kept,
        "mixture": "weights",
        # Seven digits: finer than any run can draw.
        "weights": {
            task: float(f"{share:.7g}")
            for task, share in weights.items()
            if task not in (learned.get("tokens") or {})
        },
    }
    return yaml.safe_dump({"adapt": block}, sort_keys=False, allow_unicode=True, width=100)


def _heading(run: FinishedRun, which: str) -> str:
    """The comment that opens the recipe."""
    mixture = "token-weighted average of the mixture" if which == "average" else "final mixture"
    in_steps = f", {run.meta_steps:,} meta steps" if run.meta_steps else ""
    digest = hashlib.sha256(run.recipe.encode()).hexdigest()
    versions = run.config["versions"]
    lines = [
        f"The {mixture} that the run {run.name} learned, frozen into weights.",
        "",
        f"Learned in:    {run.ledger['steps']:,} steps on {run.ledger['used']:,} supervised "
        f"tokens{in_steps}",
        f"Learned by:    recipe with sha256 {digest[:16]}, "
        f"adapt-axolotl {versions['adapt-axolotl']}, axolotl {versions['axolotl']}",
        "Launch:        axolotl train FILE",
        "",
        "What follows is that recipe without its opening comment; adapt: and output_dir: are new.",
    ]
    newline = "\r\n" if "\r\n" in run.recipe else "\n"
    return "".join(f"# {line}".rstrip() + newline for line in lines) + newline


def _without_heading(recipe: str) -> str:
    """Without the comments that open it, up to an empty line: they tell of the learned run. A
    comment right above a key is the key's."""
    return re.sub(r"\A(?:(?:[ \t]*#[^\n]*\n)*[ \t]*\r?\n)+", "", recipe)
