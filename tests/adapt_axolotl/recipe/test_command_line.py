"""An option for the `adapt:` block that Axolotl would drop stops the run."""

from __future__ import annotations

import pytest

from adapt_axolotl.recipe.command_line import refuse_dropped_options

COMMAND = ["/bin/axolotl", "train", "r.yml", "--launcher", "python"]
MODULE = ["/lib/axolotl/cli/train.py", "r.yml"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--adapt.token_budget", "10%"],
            r"^--adapt\.token_budget: Axolotl drops .*; write token_budget: 10% under adapt: in "
            r"the recipe, or start it as `accelerate launch .* --adapt__token_budget=10%`$",
        ),
        (["--adapt__token-budget=10%"], "write token_budget: 10% under adapt: in the recipe, or"),
        (
            ["--adapt.learned.update-every=5"],
            r"write update_every: 5 under adapt: learned: in the recipe$",
        ),
    ],
)
def test_a_dropped_option_is_refused_with_the_ways_that_work(options: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        refuse_dropped_options([*COMMAND, *options])


def test_options_that_reach_the_block_and_those_of_others_pass() -> None:
    refuse_dropped_options([*MODULE, "--adapt__token_budget=10%"])
    refuse_dropped_options([*COMMAND, "--adapter", "lora", "--learning-rate", "1"])
    with pytest.raises(ValueError, match="under adapt: in the recipe"):
        refuse_dropped_options([*MODULE, "--adapt.token_budget=10%"])


def test_a_process_without_options_is_no_error() -> None:
    refuse_dropped_options(["-c"])
