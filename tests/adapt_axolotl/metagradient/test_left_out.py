"""Parameters without a rule that are left out: what is read is exact along all others.

float64, to 1e-9 of the largest score, where nothing else is said.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from adapt_axolotl.meta_step.choice import EstimatorChoice
from adapt_axolotl.metagradient import left_out as left_out_module
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, BypassedModule
from adapt_axolotl.metagradient.left_out import left_out, without_rule
from adapt_axolotl.metagradient.per_task import PER_TASK, per_task_scores
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.self_check import check_estimator
from benchmarks.tiny_families import tiny_model
from tests.support.measuring_rows import make_measuring_rows
from tests.support.mixers import convolution, mixing
from tests.support.models import (
    make_rows,
    packed,
    padded,
    random_v,
    read_in_backward,
    relative_error,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]


def no_mixer(**keys: Any) -> Any:
    """A mixer of a kind that is not known to keep rows apart."""
    model = mixing(**keys)
    model.mixer.__class__ = type("Unknown", (type(model.mixer),), {})
    model.mixer.out_proj.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("make", "layouts"),
    [
        (mixing, (padded, packed)),
        (no_mixer, (padded, packed)),
        (convolution, (padded,)),  # it lets packed rows into each other
    ],
)
def test_all_other_parameters_are_read_exactly(
    make: Any, layouts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out_module, "MOST", 0.05)
    model = make()
    parameters = trained(model)
    without = left_out(model, parameters)
    assert 0 < without.numbers < 0.05 * without.of
    v = random_v(parameters)
    for layout in layouts:
        batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
        whole, expected = (
            per_task_scores(model, parameters, batches, along, 4).inner_products
            for along in (v, without.without(v))
        )
        found = read_in_backward(model, parameters, batches, v, scale=0.37).inner_products
        assert relative_error(found, expected) < 1e-9
        assert relative_error(found, whole) > 1e-4
        check = check_estimator(IN_BACKWARD, model, parameters, batches, v, 4)
        assert check.passed
        assert check.max_relative_error < 1e-9


def test_rows_that_see_each_other_have_the_parts_of_their_own_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a loss asks of the tokens of another packed row is that row's, and the parts add up to
    the gradient of training."""
    monkeypatch.setattr(left_out_module, "MOST", 0.05)
    model = no_mixer(rows_apart=False)
    parameters = trained(model)
    v = random_v(parameters)
    batch = packed(make_rows(6, 1), [0, 1, 2, 3, 0, 1])
    tokens = batch.tokens_of_rows()
    of_task = torch.zeros(4).double().index_add(0, batch.task_of_row, tokens.double())
    along = left_out(model, parameters).without(v)
    alone = per_task_scores(model, parameters, [batch], along, 4).inner_products
    found = read_in_backward(model, parameters, [batch], v).inner_products
    assert relative_error((found * of_task).sum(), (alone * of_task).sum()) < 1e-9
    assert relative_error(found, alone) > 1e-3


def test_many_parameters_without_a_rule_are_not_left_out() -> None:
    model = no_mixer()
    parameters = trained(model)
    found = without_rule(model, parameters)
    assert found.modules == ["mixer", "mixer.conv", "temper"]
    assert found.numbers == 16 + 16 * 2 + 16 + 1
    assert found.of == sum(parameter.numel() for parameter in parameters)
    assert found.share > left_out_module.MOST
    assert left_out(model, parameters).numbers == 0
    with pytest.raises(BypassedModule):
        read_in_backward(model, parameters, [padded(make_rows(6, 1), TASKS)], random_v(parameters))


def test_the_sinks_of_attention_are_left_out() -> None:
    """float32: to 1e-4."""
    model = tiny_model("gpt_oss")
    model.config.use_cache = False
    parameters = trained(model)
    without = left_out(model, parameters)
    assert without.numbers == 2 * 4  # layers, heads
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, without.without(v), 4).inner_products
    found = read_in_backward(model, parameters, batches, v).inner_products
    assert relative_error(found, expected) < 1e-4


def chosen(model: Any) -> EstimatorChoice:
    return EstimatorChoice(
        [IN_BACKWARD, FINITE_DIFFERENCE, PER_TASK],
        model,
        make_measuring_rows(1),
        3,
        Ranks(),
        seed=0,
        half_precision=False,
    )


def test_what_is_left_out_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = mixing()
    parameters = trained(model)
    v = direction(model, parameters, [padded(make_rows(3, 9), [0, 1, 2])], torch.ones(3)).v
    choice = chosen(model)
    with caplog.at_level(logging.INFO, logger="axolotl.adapt.meta_step"):
        assert choice.settle(v)
        assert choice.settle(v)
    of = sum(parameter.numel() for parameter in parameters)
    said = [line for line in caplog.messages if "but 1 of" in line]
    assert len(said) == 1
    assert f"all trained parameters but 1 of {of:,}" in said[0]
    assert "such as temper" in said[0]
    assert choice.current is IN_BACKWARD
    assert choice.left_out == 1 / of


def test_few_parameters_that_are_much_of_the_direction_are_not_left_out() -> None:
    """At any meta step."""
    model = mixing()
    parameters = trained(model)
    v = direction(model, parameters, [padded(make_rows(3, 9), [0, 1, 2])], torch.ones(3)).v
    choice = chosen(model)
    assert choice.settle(v)
    assert choice.current is IN_BACKWARD
    length = sum(float((part**2).sum()) for part in v)
    ((_, few),) = [
        (name, part)
        for (name, _), part in zip(model.named_parameters(), v, strict=True)
        if name.startswith("temper")
    ]
    for share, stays in ((0.009, True), (0.011, False)):
        few.fill_((share / (1 - share) * (length - float(few**2))) ** 0.5)
        assert left_out(model, parameters).share_of(v) == pytest.approx(share)
        length = sum(float((part**2).sum()) for part in v)
        assert choice.settle(v)
        assert (choice.current is IN_BACKWARD) == stays
    assert choice.left_out == 0.0
