"""What speaks against reading the training backward is found before the run, and said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedModel

from adapt_axolotl.integration.build import candidate_estimators, in_backward_obstacle
from adapt_axolotl.metagradient.estimators import ESTIMATORS
from adapt_axolotl.run.plan import Estimate
from tests.support.models import make_model
from tests.support.specs import make_spec

EIGHT_ROWS = Estimate(steps=100, rows_per_step=8.0)


def trainer_of(model: PreTrainedModel, **more: Any) -> Any:
    loss = {"compute_loss_func": None, "label_smoother": None}
    return SimpleNamespace(model=model, **(loss | more))


def test_nothing_speaks_against_a_plain_model() -> None:
    trainer = trainer_of(make_model("llama"))
    assert in_backward_obstacle(make_spec(), EIGHT_ROWS, 8, trainer) is None


@pytest.mark.parametrize("key", ["compiled", "flex_attention", "fused_loss"])
def test_what_gives_way_or_has_a_rule_is_no_obstacle(key: str) -> None:
    trainer = trainer_of(make_model("llama"))
    assert in_backward_obstacle(make_spec(**{key: True}), EIGHT_ROWS, 8, trainer) is None


@pytest.mark.parametrize(
    ("keys", "num_tasks", "loss", "said"),
    [
        ({}, 9, {}, "about 8 rows for 9 tasks"),
        ({"compiled": True, "flex_attention": True}, 8, {}, "holds all of its scores at once"),
        ({"weighs_tokens": True}, 8, {}, "not the plain token cross-entropy"),
        ({}, 8, {"label_smoother": object()}, "not the plain token cross-entropy"),
        ({}, 8, {"compute_loss_func": sum}, "not the plain token cross-entropy"),
    ],
)
def test_an_obstacle_is_named(
    keys: dict[str, Any], num_tasks: int, loss: dict[str, Any], said: str
) -> None:
    trainer = trainer_of(make_model("llama"), **loss)
    obstacle = in_backward_obstacle(make_spec(**keys), EIGHT_ROWS, num_tasks, trainer)
    assert obstacle is not None
    assert said in obstacle


def test_a_loss_of_the_router_is_not_taken_for_one_of_a_task() -> None:
    config = MixtralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        num_local_experts=2,
        num_experts_per_tok=1,
        output_router_logits=True,
    )
    trainer = trainer_of(MixtralForCausalLM(config))
    obstacle = in_backward_obstacle(make_spec(), EIGHT_ROWS, 8, trainer)
    assert obstacle == "the router's auxiliary loss is part of the training loss"


@pytest.mark.parametrize(("asked", "taken"), [("auto", 1), ("in_backward", 0)])
def test_in_backward_against_an_obstacle_is_taken_only_if_asked_for(
    asked: str, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("adapt_axolotl.integration.build.LOG.warning", warned.append)
    spec = make_spec(
        adapt={"token_budget": 100, "learned": {"measure": "products", "estimator": asked}}
    )
    found = candidate_estimators(spec, EIGHT_ROWS, 9, None)
    assert found == list(ESTIMATORS[taken:])
    assert ["although an optimizer step holds about 8 rows" in one for one in warned] == (
        [True] if asked == "in_backward" else []
    )
