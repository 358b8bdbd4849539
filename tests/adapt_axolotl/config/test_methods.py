"""Keys that single mixtures read: what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.methods import BY_LOSSES, BY_META_STEPS, DOGE, READ_WITH, SOURCES
from adapt_axolotl.mixture.doge import GeneralisationSteps
from adapt_axolotl.recipe.block import parse_adapt_block
from adapt_axolotl.run.described import learned_mixture
from tests.support.plain_runs import make_pools


def made(**block: Any) -> AdaptConfig:
    return parse_adapt_block({"token_budget": "5%", **block})


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (
            {"mixture": "doremi"},
            "mixture: doremi needs reference:, the output_dir of a finished run over the same "
            "tasks; add it, as in reference: runs/uniform",
        ),
        ({"mixture": "replay"}, "mixture: replay needs replay:, the output_dir of a finished run"),
        (
            {"mixture": "odm", "step_size": 0.1},
            "step_size is read with mixture: group_dro or doremi only; remove it, or choose "
            "mixture: group_dro",
        ),
        ({"replay": "runs/a"}, "replay is read with mixture: replay only; remove it, or choose"),
        (
            {"mixture": "uniform", "replay_as": "reversed"},
            "replay_as is read with mixture: replay only; remove it",
        ),
        (
            {"mixture": "replay", "replay": "runs/a", "replay_as": "backwards"},
            "adapt.replay_as: must be one of average, schedule, permuted, reversed, shuffled, "
            "walk; got 'backwards'",
        ),
        (
            {"mixture": "replay", "replay": "runs/a", "tokens": {"a": 5}},
            "tokens: replay draws the shares of another run, in which all tasks have theirs; remo",
        ),
        ({"mixture": "doremi", "reference": "a", "smoothing": 0}, "adapt.smoothing: must be a nu"),
        ({"mixture": "odm", "reward_decay": 1}, "adapt.reward_decay: must be a number of at least"),
        (
            {"mixture": "doge", "learned": {"measure": "loss_falls"}},
            "learned.measure: mixture: doge is measure: products; remove it, or choose mixture: l",
        ),
        ({"mixture": "uniform", "floor": 0.3}, "floor is read with mixture: learned only; remove"),
        ({"mixture": "doge", "floor": 0.3}, "floor is read with mixture: learned only; remove it"),
        (
            {"learned": DOGE, "floor": 0.3},
            "floor is not read with learned.rule: doge, whose shares",
        ),
        ({"learned": {"mu": 0.1}}, "mu is read with rule: doge only; remove it, or choose mixture"),
        (
            {"learned": {"rule": "doge"}},
            "rule: doge goes with measure: products and objective: mean; write mixture: doge",
        ),
        (
            {"mixture": "doge", "learned": {"entropy_weight": 0.5}},
            "entropy_weight is not read with rule: doge",
        ),
        ({"mixture": "doge", "learned": {"step_size": 1}}, "step_size is read with rule: steps on"),
        (
            {"mixture": "doge", "learned": {"targets": ["a"], "bounds": {"b": 1}}},
            "rule: doge has no bounds; remove bounds and keep, or choose mixture: learned",
        ),
    ],
)
def test_what_does_not_fit_gets_one_sentence_with_its_key(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="mistakes") as error:
        made(**block)
    _, *lines = str(error.value).split("\n  - ")
    assert len(lines) == 1
    assert says in lines[0]


def test_doge_is_a_name_for_three_settings_of_learning() -> None:
    short = made(mixture="doge", learned={"overhead": "8%"})
    long = made(
        learned={"measure": "products", "objective": "mean", "rule": "doge", "overhead": "8%"}
    )
    assert short.learned == long.learned
    # As Axolotl hands on a block, with its defaults written out.
    assert AdaptConfig.model_validate(short.model_dump()) == short
    mixture = learned_mixture(short, make_pools(), learning_rate=lambda: 1.0)
    assert isinstance(mixture._steps, GeneralisationSteps)
    mixture.observe(np.ones(3))
    assert mixture._floor == 0


@pytest.mark.parametrize("mixture", [*BY_LOSSES, "replay"])
def test_a_block_with_its_defaults_written_out_is_the_same_block(mixture: str) -> None:
    needed = {"doremi": {"reference": "runs/a"}, "replay": {"replay": "runs/a"}}
    block = made(mixture=mixture, **needed.get(mixture, {}))
    assert AdaptConfig.model_validate(block.model_dump()) == block


def test_every_method_has_its_source() -> None:
    assert {*BY_LOSSES, *BY_META_STEPS} - set(SOURCES) == {"learned"}
    assert set(READ_WITH) <= set(AdaptConfig.model_fields)
