"""Modules that are differentiated again, row by row, against one backward a task.

Tolerances, relative to the largest score: 1e-4 in float32, 5e-2 under bfloat16 autocast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.in_backward import BypassedModule, InBackward
from adapt_axolotl.metagradient.left_out import without_rule
from adapt_axolotl.metagradient.per_task import per_task_scores
from tests.support.by_rows import MAKE, Quantising, experts, quantising
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


def assert_read_exactly(model: Any) -> None:
    """What is read of six rows is what one backward a task gives, to 1e-4 of the largest."""
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert relative_error(found.inner_products, expected) < 1e-4


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("layout", [padded, packed])
def test_what_is_not_affine_is_read(kind: str, layout: Any) -> None:
    model = MAKE[kind]()
    parameters = trained(model)
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    assert without_rule(model, parameters).modules == []
    found = read_in_backward(model, parameters, batches, v, scale=0.37)
    assert relative_error(found.inner_products, expected) < 1e-4


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("reentrant", [True, False])
def test_it_is_read_once_under_gradient_checkpointing(kind: str, reentrant: bool) -> None:
    model = MAKE[kind]()
    parameters = trained(model)
    batches = [padded(make_rows(6, 4), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()
    model.train()
    reader = InBackward(model, parameters, v)
    reader.begin(batches[0].row_of_token, batches[0].labels)
    labels = batches[0].labels
    model(**batches[0].inputs, labels=labels).loss.backward()
    products = reader.collect(1 / int((labels[:, 1:] != -100).sum()), 6)
    reader.remove()
    tokens, tasks = batches[0].tokens_of_rows(), batches[0].task_of_row
    found = torch.zeros(4).double().index_add(0, tasks, products)
    found /= torch.bincount(tasks, tokens, minlength=4)
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("kind", MAKE)
def test_it_runs_in_the_precision_of_its_forward(kind: str) -> None:
    model = MAKE[kind]()
    parameters = trained(model)
    batches = [padded(make_rows(6, 8), TASKS)]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    plain = model.forward
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(plain)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert relative_error(found.inner_products, expected) < 5e-2


def test_the_gradients_of_training_are_those_without_a_reader() -> None:
    batch = padded(make_rows(6, 1), TASKS)
    gradients = []
    for reads in (False, True):
        model = experts()
        parameters = trained(model)
        reader = InBackward(model, parameters, random_v(parameters)) if reads else None
        if reader is not None:
            reader.begin(batch.row_of_token, batch.labels)
        model(**batch.inputs, labels=batch.labels).loss.backward()
        if reader is not None:
            reader.collect(1.0, 6)
            reader.remove()
        gradients.append([parameter.grad for parameter in parameters])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_weights_that_are_not_whole_are_told() -> None:
    model = quantising()
    model.model.layers[0].mlp.up_proj.weight.ds_id = 0  # as DeepSpeed marks what it shards
    batches = [padded(make_rows(6, 6), TASKS)]
    with pytest.raises(BypassedModule, match="weights are not whole"):
        read_in_backward(model, trained(model), batches, random_v(trained(model)))


class FailsAlone(Quantising):
    """Cannot take one row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if len(input) == 1:
            raise torch.OutOfMemoryError("no memory")
        return super().forward(input)


def test_a_row_that_cannot_be_told_does_not_end_the_training_step() -> None:
    model = quantising()
    layer = FailsAlone(32, 48, bias=False)
    model.model.layers[0].mlp.up_proj = layer
    batch = padded(make_rows(6, 6), TASKS)
    reader = InBackward(model, trained(model), random_v(trained(model)))
    reader.begin(batch.row_of_token, batch.labels)
    model(**batch.inputs, labels=batch.labels).loss.backward()
    assert layer.weight.grad is not None
    with pytest.raises(BypassedModule, match="no memory"):
        reader.collect(1.0, 6)
    reader.remove()


class AddsInPlace(nn.Module):
    """As Falcon's layers do to what their MLP gave."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = self.inner(x)
        output += 1.0
        return output


def test_the_output_may_be_changed_in_place() -> None:
    model = quantising()
    layer = model.model.layers[0]
    layer.mlp.down_proj = AddsInPlace(layer.mlp.down_proj)
    assert_read_exactly(model)


class Pair(NamedTuple):
    states: torch.Tensor
    label: str


class GivesAPair(Quantising):
    def forward(self, x: torch.Tensor) -> Any:
        return Pair(super().forward(x), "kept")


class TakesThePair(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pair = self.inner(x)
        assert pair.label == "kept"
        return pair.states


def test_the_output_may_be_a_named_tuple() -> None:
    model = quantising()
    layer = model.model.layers[0]
    layer.mlp.down_proj.__class__ = GivesAPair
    layer.mlp.down_proj = TakesThePair(layer.mlp.down_proj)
    assert_read_exactly(model)


def test_an_argument_without_an_axis_of_tokens_is_told() -> None:
    model = quantising()
    projection = model.model.layers[0].mlp.up_proj
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    # As an expert of its own, which gets some of the tokens in an order of its own.
    mlp.forward = lambda x: forward(x) + projection(x.flatten(0, 1)[1:]).sum()
    batches = [padded(make_rows(6, 6), TASKS)]
    with pytest.raises(BypassedModule, match="belongs to no row"):
        read_in_backward(model, trained(model), batches, random_v(trained(model)))
