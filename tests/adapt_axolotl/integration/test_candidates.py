"""What speaks against reading the gradients of training is found before the run, and said."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from torch.nn import Conv1d
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedModel

from adapt_axolotl.integration.candidates import candidate_estimators, obstacle_to
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES
from adapt_axolotl.run.plan import Estimate
from tests.support.models import make_model
from tests.support.specs import make_spec

EIGHT_ROWS = Estimate(steps=100, rows_per_step=8.0, step_tokens=8000.0)


def trainer_of(model: PreTrainedModel, **more: Any) -> Any:
    loss = {"compute_loss_func": None, "label_smoother": None}
    arguments = SimpleNamespace(optim="adamw_torch", world_size=1)
    return SimpleNamespace(model=model, **({"args": arguments} | loss | more))


def test_nothing_speaks_against_a_plain_model() -> None:
    trainer = trainer_of(make_model("llama"))
    assert obstacle_to(IN_BACKWARD, make_spec(), EIGHT_ROWS, 8, trainer) is None


@pytest.mark.parametrize("key", ["compiled", "flex_attention", "fused_loss"])
def test_what_gives_way_or_has_a_rule_is_no_obstacle(key: str) -> None:
    trainer = trainer_of(make_model("llama"))
    assert obstacle_to(IN_BACKWARD, make_spec(**{key: True}), EIGHT_ROWS, 8, trainer) is None


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
    obstacle = obstacle_to(IN_BACKWARD, make_spec(**keys), EIGHT_ROWS, num_tasks, trainer)
    assert obstacle is not None
    assert said in obstacle


def test_a_loss_of_the_router_is_read_and_not_split() -> None:
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
    assert obstacle_to(IN_BACKWARD, make_spec(), EIGHT_ROWS, 8, trainer) is None
    obstacle = obstacle_to(SPLIT_BATCHES, make_spec(), EIGHT_ROWS, 8, trainer)
    assert obstacle == "the router's auxiliary loss is no sum over rows"


def candidates(
    asked: str,
    num_tasks: int,
    trainer: Any,
    monkeypatch: pytest.MonkeyPatch,
    estimate: Estimate = EIGHT_ROWS,
) -> tuple[list[str], list[str], list[str]]:
    """(names of the estimators, what is said, what is warned of)."""
    said: list[str] = []
    warned: list[str] = []
    log = "adapt_axolotl.integration.candidates.LOG"
    monkeypatch.setattr(f"{log}.info", said.append)
    monkeypatch.setattr(f"{log}.warning", warned.append)
    learned = {"measure": "products", "estimator": asked}
    spec = make_spec(adapt={"token_budget": 100, "learned": learned})
    found = candidate_estimators(spec, estimate, num_tasks, trainer)
    return [one.name for one in found], said, warned


def test_where_a_step_holds_too_few_rows_rows_are_read_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, said, warned = candidates("auto", 9, None, monkeypatch)
    assert names == ["finite_difference", "per_task"]
    assert [one.split(",")[0] for one in said] == ["task scores: not in_backward and split_batches"]
    assert warned == []


@pytest.mark.parametrize("asked", ["in_backward", "split_batches"])
def test_what_has_an_obstacle_is_taken_only_if_asked_for(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, _, warned = candidates(asked, 9, None, monkeypatch)
    assert names == [asked, "finite_difference", "per_task"]
    assert len(warned) == 1
    assert "although an optimizer step holds about 8 rows" in warned[0]


def test_what_has_no_rule_is_split_by_task(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("llama")
    of = model.num_parameters()
    model.model.layers[0].mlp.short = Conv1d(2, of // 200 - 6, 1, bias=False)  # .99 % of all
    assert candidates("auto", 8, trainer_of(model), monkeypatch)[0][0] == "in_backward"
    model.model.layers[0].mlp.short = Conv1d(2, of // 200 + 6, 1, bias=False)
    names, said, _ = candidates("auto", 8, trainer_of(model), monkeypatch)
    assert names == ["split_batches", "finite_difference", "per_task"]
    assert said == [
        "task scores: not in_backward, because it has no rule for model.layers.0.mlp.short; "
        "modules without one have 1.1% of the trained parameters, of which it leaves out at most 1%"
    ]


@pytest.mark.parametrize(
    ("tokens", "more", "said"),
    [
        # Eight rows, two micro-batches: four rows of about three and a half of eight tasks.
        (4000, {}, "a micro-batch holds about 604 tokens of a task"),
        (3000, {}, "a micro-batch holds about 453 tokens of a task"),
        (8000, {"is_fsdp_enabled": True}, "parameters that are sharded are gathered for each task"),
    ],
)
def test_splitting_comes_after_a_finite_difference_where_it_costs_more(
    tokens: float, more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("llama")
    model.model.layers[0].mlp.short = Conv1d(40, 40, 2)
    estimate = Estimate(steps=100, rows_per_step=8.0, step_tokens=tokens)
    spec_of = partial(make_spec, gradient_accumulation_steps=2)
    monkeypatch.setattr(f"{__name__}.make_spec", spec_of)
    names, logs, _ = candidates("auto", 8, trainer_of(model, **more), monkeypatch, estimate)
    behind = tokens < 4000 or bool(more)
    assert names == (
        ["finite_difference", "split_batches", "per_task"]
        if behind
        else ["split_batches", "finite_difference", "per_task"]
    )
    after = f"task scores: split_batches after finite_difference, because {said}"
    assert (after in logs) == behind


@pytest.mark.parametrize("optimizer", ["lomo", "galore_adamw_layerwise"])
def test_an_optimizer_that_steps_in_each_backward_sees_whole_micro_batches(optimizer: str) -> None:
    trainer = trainer_of(make_model("llama"), args=SimpleNamespace(optim=optimizer, world_size=1))
    obstacle = obstacle_to(SPLIT_BATCHES, make_spec(), EIGHT_ROWS, 8, trainer)
    assert obstacle == f"optimizer: {optimizer} steps within each backward"
    assert obstacle_to(FINITE_DIFFERENCE, make_spec(), EIGHT_ROWS, 8, trainer) is None


def offloading(stage: int, accumulation: int, device: str = "cpu") -> Any:
    zero = {"stage": stage, "offload_optimizer": {"device": device}}
    config = {"zero_optimization": zero, "gradient_accumulation_steps": accumulation}
    arguments = SimpleNamespace(
        optim="adamw_torch", world_size=2, hf_deepspeed_config=HfDeepSpeedConfig(config)
    )
    return trainer_of(make_model("llama"), args=arguments)


def test_an_offloaded_optimizer_that_adds_up_no_gradients_sees_whole_micro_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, *_ = candidates("auto", 8, offloading(2, 1), monkeypatch)
    assert "split_batches" not in names
    for other in (offloading(2, 2), offloading(2, 1, "none"), offloading(1, 1), offloading(3, 1)):
        assert obstacle_to(SPLIT_BATCHES, make_spec(), EIGHT_ROWS, 8, other) is None


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        (offloading(2, 1), "offload_optimizer with stage 2 adds up no gradients"),
        (
            trainer_of(make_model("llama"), args=SimpleNamespace(optim="lomo", world_size=1)),
            "optimizer: lomo steps within each backward",
        ),
        (trainer_of(make_model("llama"), compute_loss_func=sum), "not the plain token"),
    ],
)
def test_splitting_that_would_train_something_else_is_refused(
    trainer: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"adapt\.learned\.estimator: split_batches") as error:
        candidates("split_batches", 8, trainer, monkeypatch)
    assert said in str(error.value)
    assert "set estimator: auto" in str(error.value)
