"""Micro-batches that are split by task: their gradients add up to that of the whole, and their
products with v are the reference's. float64, to 1e-9 of the largest."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from adapt_axolotl.metagradient.gradient_products import GradientProducts
from adapt_axolotl.metagradient.left_out import without_rule
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.rows_apart import obstacle_to_cutting, rows_apart
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES, split_batches_scores
from adapt_axolotl.metagradient.task_batch import TaskBatch
from benchmarks.tiny_families import tiny_model
from tests.support.by_rows import experts
from tests.support.layouts import LAYOUTS, in_two_bins
from tests.support.mixers import convolution
from tests.support.models import (
    make_exact_model,
    make_rows,
    packed,
    padded,
    random_v,
    relative_error,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]


def exact_experts() -> nn.Module:
    # Kernels for groups of tokens have no float64, eager attention has its softmax in float32.
    model: nn.Module = experts(attn_implementation="sdpa", experts_implementation="eager").double()
    return model


def dora() -> nn.Module:
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], use_dora=True)
    model = get_peft_model(make_exact_model("qwen3"), config).eval()
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)
    return model


MODELS = {
    "tied": lambda: make_exact_model("qwen3"),
    "convolution": convolution,
    "experts": exact_experts,
    "dora": dora,
}


def split(batch: TaskBatch) -> list[TaskBatch]:
    return [rows_apart(batch, batch.task_of_row == task) for task in range(4)]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_are_those_of_the_reference_and_the_gradient_is_that_of_the_whole(
    kind: str, layout
) -> None:
    if kind == "convolution" and layout in (packed, in_two_bins):
        pytest.skip("this convolution mixes packed rows")
    model = MODELS[kind]()
    parameters = trained(model)
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 5).inner_products
    found = split_batches_scores(model, parameters, batches, v, 5)
    assert relative_error(found.inner_products[:4], expected[:4]) < 1e-9
    assert torch.isnan(found.inner_products[4])
    assert found.rows.tolist() == [2, 2, 2, 2, 0]  # parts
    assert torch.isfinite(found.standard_errors[:4]).all()

    for batch in batches:
        row_losses(model, batch, whole_logits=True)[0].sum().backward()
    whole = [parameter.grad for parameter in parameters]
    model.zero_grad(set_to_none=True)
    for batch in batches:
        for part in split(batch):
            row_losses(model, part, whole_logits=True)[0].sum().backward()
    for parameter, gradient in zip(parameters, whole, strict=True):
        if gradient is not None:
            assert float((parameter.grad - gradient).abs().max()) <= 1e-9 * max(
                1.0, float(gradient.abs().max())
            )


def test_it_fits_where_a_backward_cannot_be_read_off_modules() -> None:
    model = dora()
    parameters = trained(model)
    assert without_rule(model, parameters).modules
    batches = [padded(make_rows(2, 1), [0, 1])]
    check = check_estimator(SPLIT_BATCHES, model, parameters, batches, random_v(parameters), 2)
    assert check.passed
    assert check.max_relative_error < 1e-9


@pytest.mark.parametrize(
    "family",
    [
        "lfm2",  # short convolutions
        "granitemoehybrid",  # Mamba
        "qwen3_5",  # linear attention
        "gpt_oss",  # attention with sinks, experts
    ],
)
def test_families_whose_modules_have_no_rule_by_token_are_split(family: str) -> None:
    """float32: to 1e-4."""
    torch.manual_seed(6)
    model = tiny_model(family).eval()
    model.config.use_cache = False
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = split_batches_scores(model, parameters, batches, v, 4).inner_products
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_that_run_again_in_the_backward_count_once(reentrant: bool) -> None:
    model = make_exact_model("qwen3")
    parameters = trained(model)
    batch, v = padded(make_rows(6, 1), TASKS), random_v(parameters)
    expected = per_task_scores(model, parameters, [batch], v, 4).inner_products
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.train()
    if reentrant:
        model.enable_input_require_grads()
    products = GradientProducts(parameters, v)
    found = []
    for part in split(batch):
        products.begin()
        sums, tokens = row_losses(model, part, whole_logits=True)
        (0.25 * sums.sum()).backward()
        found.append(products.collect() / 0.25 / tokens.sum())
    products.remove()
    assert relative_error(torch.stack(found), expected) < 1e-9


def test_hooks_hear_nothing_beside_a_part_and_leave_nothing() -> None:
    model = make_exact_model("llama")
    parameters = trained(model)
    batch = padded(make_rows(6, 1), TASKS)
    products = GradientProducts(parameters, random_v(parameters))
    row_losses(model, batch, whole_logits=True)[0].sum().backward()
    products.begin()
    assert float(products.collect()) == 0
    products.remove()
    assert not any(parameter._backward_hooks for parameter in parameters)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_holds_its_rows_and_no_padding_beside_what_they_need(layout) -> None:
    rows = make_rows(6, 3)
    batch = layout(rows, TASKS)
    part = rows_apart(batch, batch.task_of_row == 1)
    assert part.task_of_row.tolist() == [1, 1]
    lengths = [len(rows[1]), len(rows[5])]
    for number, row in enumerate((rows[1], rows[5])):
        here = part.row_of_token == number
        if "attention_mask" in part.inputs:
            here &= part.inputs["attention_mask"] > 0
        assert part.inputs["input_ids"][here].tolist() == row.tolist()
        if "position_ids" in part.inputs:
            assert part.inputs["position_ids"][here].tolist() == list(range(len(row)))
    assert part.labels.shape[1] == (sum(lengths) if layout is packed else max(lengths))
    assert int((part.labels != -100).sum()) == sum(n - n // 3 for n in lengths)


def test_rows_that_a_mask_numbers_are_numbered_without_gaps() -> None:
    batch = packed(make_rows(6, 3), TASKS)
    batch.inputs["attention_mask"] = batch.row_of_token + 1
    part = rows_apart(batch, batch.task_of_row == 1)
    assert torch.equal(part.inputs["attention_mask"], part.row_of_token + 1)
    assert part.inputs["attention_mask"].unique().tolist() == [1, 2]


def test_padding_on_the_left_stays_so_that_positions_do() -> None:
    batch = padded(make_rows(6, 3), TASKS)
    flipped = TaskBatch(
        {name: column.flip(1) for name, column in batch.inputs.items()},
        batch.labels.flip(1),
        torch.arange(6)[:, None].expand_as(batch.labels),
        batch.task_of_row,
    )
    part = rows_apart(flipped, flipped.task_of_row == 1)
    assert torch.equal(part.labels, flipped.labels[[1, 5]])


def test_what_cannot_be_split_is_named() -> None:
    batch = packed(make_rows(3, 1), [0, 1, 2])
    assert obstacle_to_cutting(batch.inputs, batch.labels, batch.row_of_token) is None
    image = {**batch.inputs, "pixel_values": torch.zeros(2, 3)}
    said = obstacle_to_cutting(image, batch.labels, batch.row_of_token)
    assert "pixel_values cannot be cut" in str(said)
    said = obstacle_to_cutting(batch.inputs, batch.inputs["input_ids"], batch.row_of_token)
    assert "first token is supervised" in str(said)
