"""Every key of the `adapt:` block answers a value of the wrong kind with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.learned import LearnedConfig
from adapt_axolotl.config.phase import Phase
from adapt_axolotl.recipe.block import parse_adapt_block

WRONG: tuple[Any, ...] = ([1, 1, 1], None, "text", "", -1, {"a": "x"}, float("nan"), float("inf"))
KEYS = [
    *((name, ()) for name in AdaptConfig.model_fields if not name.endswith("_tasks")),
    *((name, ("learned",)) for name in LearnedConfig.model_fields),
    *((name, ("phases",)) for name in Phase.model_fields),
]
BLOCKS = {(): AdaptConfig, ("learned",): LearnedConfig, ("phases",): Phase}
# Of pydantic's own words.
JARGON = ("Input should", "valid ", "unable to", "instance of", "dict", ".str:", ".float:", "[key]")


@pytest.mark.parametrize(
    ("name", "within", "wrong"),
    # A folder may have any name.
    [(*key, wrong) for key in KEYS for wrong in WRONG if (key[0], str(wrong)) != ("keep", "text")],
    ids=repr,
)
def test_a_value_of_another_kind_gets_a_sentence(
    name: str, within: tuple[str, ...], wrong: Any
) -> None:
    block: dict[str, Any] = {"token_budget": "5%"}
    if within == ("learned",):
        block["learned"] = {name: wrong}
    elif within:
        first = {"until": "60%", "mixture": "uniform", name: wrong}
        block |= {"mixture": "phases", "phases": [first, {"mixture": "uniform"}]}
    else:
        block[name] = wrong
    field = BLOCKS[within].model_fields[name]
    if wrong is None and field.default is None and name != "until":
        parse_adapt_block(block)  # an empty key is the default
        return
    with pytest.raises(ValueError, match="mistakes") as error:
        parse_adapt_block(block)
    _, *lines = str(error.value).split("\n  - ")
    for line in lines:
        assert not [word for word in JARGON if word in line], line
        # What is wrong, then what to do.
        assert ";" in line, line


@pytest.mark.parametrize(
    ("block", "tasks", "says"),
    [
        (
            {"mixture": "learnt"},
            (),
            "adapt.mixture: must be one of learned, uniform, proportional, temperature, weights, "
            "round_robin, phases, replay, odm, group_dro, doremi, doge; got 'learnt'; did you mean "
            "learned?",
        ),
        (
            {"mixture": "weights", "weights": [3, 1]},
            ("qa", "code"),
            "adapt.weights: must be a mapping of task names to numbers; got [3, 1]; write weights: "
            "{qa: 3, code: 1}",
        ),
        (
            {"mixture": "weights", "weights": [1, 1, 1]},
            (),
            "got [1, 1, 1]; write weights: {one_task: 1, another_task: 1}",
        ),
        (
            {"mixture": "weights", "weights": {"qa": "much"}},
            (),
            "adapt.weights.qa: must be a number; got 'much'; write one, as in qa: 1.5",
        ),
        (
            {"val_examples": 1},
            (),
            "adapt.val_examples: must be a whole number of at least 2; got 1; correct it, or "
            "remove the key",
        ),
        (
            {"floor": True},
            (),
            "adapt.floor: must be a number of at least 0 and below 1; got True; correct it, or "
            "remove the key, whose default is 0.1",
        ),
        ({"learned": None}, (), "adapt.learned: must be a block of keys; it is empty; write its"),
        ({1: 2}, (), "adapt.1: no such key; the keys are token_budget"),
    ],
)
def test_messages_say_what_to_write(block: dict, tasks: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match="mistakes") as error:
        parse_adapt_block({"token_budget": "5%", **block}, tasks)
    assert says in str(error.value)


def test_tasks_may_have_numbers_for_names() -> None:
    read = parse_adapt_block({"token_budget": "5%", "mixture": "weights", "weights": {1: 2, 2: 1}})
    assert read.weights == {"1": 2.0, "2": 1.0}
