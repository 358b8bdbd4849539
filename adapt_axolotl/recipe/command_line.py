"""Options for the `adapt:` block on the command line: Axolotl's own command drops them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Started as a module, Axolotl takes --block__key=value.
_MODULE = ("axolotl", "cli", "train.py")


def refuse_dropped_options(arguments: Sequence[str]) -> None:
    """
    Args:
        arguments: `sys.argv` of the training process.

    Raises:
        ValueError: one of them is meant for the `adapt:` block and does not reach it.
    """
    taken = Path(arguments[0]).parts[-3:] == _MODULE
    for place, option in enumerate(arguments[1:], start=1):
        if not option.startswith(("--adapt.", "--adapt__")):
            continue
        if taken and option.startswith("--adapt__"):
            continue
        name, equals, value = option.partition("=")
        key = name.removeprefix("--adapt").lstrip("._").replace("__", ".").replace("-", "_")
        value = value if equals else " ".join(arguments[place + 1 : place + 2])
        ways = f"write {key.rpartition('.')[2]}: {value} under adapt: in the recipe"
        if "." in key:
            block = key.rpartition(".")[0]
            ways = ways.replace("adapt:", f"adapt: {block}:")
        else:
            ways += (
                ", or start it as `accelerate launch -m axolotl.cli.train RECIPE "
                f"--adapt__{key}={value}`"
            )
        raise ValueError(
            f"{option}: Axolotl drops options of the adapt: block, so the run would train with "
            f"what the recipe says; {ways}"
        )
