"""Every estimator against the reference, one backward a task.

Tolerances, relative to the largest score: in-backward 1e-4 in float32 and 5e-2 in bfloat16; finite
difference 5e-3 in float32.
"""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers.pytorch_utils import Conv1D

from adapt_axolotl.metagradient import backward_rules
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.finite_difference import finite_difference_scores, norm
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, BypassedModule, InBackward
from adapt_axolotl.metagradient.left_out import without_rule
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.losses import row_losses, task_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.metagradient.self_check import check_estimator, fingerprint
from benchmarks.tiny_families import tiny_model
from tests.support.models import (
    FAMILIES,
    RELEASED,
    make_model,
    make_rows,
    packed,
    padded,
    random_v,
    read_in_backward,
    relative_error,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]


@pytest.mark.parametrize("layout", [padded, packed])
def test_the_reference_is_the_gradient_of_each_task_alone(layout) -> None:
    model = make_model("qwen3", dtype=torch.float64)
    parameters = trained(model)
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    products = []
    for task in range(4):
        total = tokens = 0.0
        for batch in batches:
            sums, counts = row_losses(model, batch, whole_logits=True)
            mine = batch.task_of_row == task
            total, tokens = total + sums[mine].sum(), tokens + counts[mine].sum()
        gradients = torch.autograd.grad(total / tokens, parameters)
        products.append(sum((part * one).sum() for part, one in zip(v, gradients, strict=True)))
    found = per_task_scores(model, parameters, batches, v, 5)
    # Norms compute in float32 whatever the weights are.
    assert relative_error(found.inner_products[:4], torch.stack(products)) < 1e-5
    assert torch.isnan(found.inner_products[4])
    assert found.rows.tolist() == [4, 4, 2, 2, 0]


class SquareOnce(torch.autograd.Function):
    """Writes its gradient over what it kept of its input, as memory-saving kernels do."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept = x.detach().clone()
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return ctx.kept.mul_(2 * gradient)


def test_the_reference_goes_once_through_what_a_kernel_kept() -> None:
    model = make_model("llama")
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    mlp = model.model.layers[0].mlp
    scores = []
    for square in (torch.square, SquareOnce.apply):
        mlp.forward = lambda x, square=square: mlp.down_proj(square(mlp.gate_proj(x)))
        scores.append(per_task_scores(model, parameters, batches, v, 4).inner_products)
    assert relative_error(scores[1], scores[0]) < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [padded, packed])
def test_in_backward_agrees_with_the_reference(family: str, layout) -> None:
    model = make_model(family)
    parameters = trained(model)
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v, scale=0.37)
    assert relative_error(found.inner_products, expected) < 1e-4
    assert found.rows.tolist() == [4, 4, 2, 2]
    assert without_rule(model, parameters).modules == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_in_backward_agrees_with_the_reference_in_released_shapes(family: str) -> None:
    # A random model of full width must keep the released scale, or its activations explode.
    model = make_model(family, moved_by=0.01, **RELEASED[family])
    parameters = trained(model)
    batches = [padded(make_rows(4, 1, length=(20, 40)), [0, 1, 2, 0])]
    v = direction(model, parameters, [padded(make_rows(3, 2), [0, 1, 2])], torch.ones(3)).v
    expected = per_task_scores(model, parameters, batches, v, 3).inner_products
    reader = InBackward(model, parameters, v)
    reader.begin(batches[0].row_of_token, batches[0].labels)
    sums, tokens = row_losses(model, batches[0], whole_logits=True)
    sums.sum().backward()
    products = reader.collect(1.0, 4)
    reader.remove()
    found = scores_from_rows(products, tokens, batches[0].task_of_row, 3).inner_products
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_in_backward_where_heads_are_as_many_as_tokens(family: str) -> None:
    model = make_model(family)
    parameters = trained(model)
    rows = [row[:4] for row in make_rows(6, 3)]  # 4 tokens, 4 heads
    batches = [padded(rows, TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert relative_error(found.inner_products, expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reentrant", [True, False])
def test_in_backward_counts_once_under_gradient_checkpointing(family: str, reentrant: bool) -> None:
    model = make_model(family)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.train()
    if reentrant:
        model.enable_input_require_grads()
    parameters = trained(model)
    batches = [padded(make_rows(6, 4), TASKS)]
    v = random_v(parameters)
    plain = make_model(family)
    expected = per_task_scores(plain, trained(plain), batches, v, 4).inner_products
    reader = InBackward(model, parameters, v)
    reader.begin(batches[0].row_of_token, batches[0].labels)
    sums, tokens = row_losses(model, batches[0], whole_logits=True)
    sums.sum().backward()
    products = reader.collect(1.0, 6)
    reader.remove()
    found = scores_from_rows(products, tokens, batches[0].task_of_row, 4).inner_products
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_in_backward_with_lora(family: str) -> None:
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True)
    model = get_peft_model(make_model(family), config).eval()
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)  # B starts at 0
    parameters = trained(model)
    batches = [padded(make_rows(6, 5), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert without_rule(model, parameters).modules == []
    assert relative_error(found.inner_products, expected) < 1e-4


def test_in_backward_reads_positions_that_are_looked_up_once_for_all_sequences() -> None:
    model = tiny_model("gpt2")
    parameters = trained(model)
    batches = [padded(make_rows(6, 3), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert relative_error(found.inner_products, expected) < 1e-4
    model.transformer.wpe.requires_grad_(False)
    other = read_in_backward(model, trained(model), batches, random_v(trained(model)))
    assert relative_error(other.inner_products, expected) > 1e-3


def test_in_backward_where_a_module_sees_tokens_without_sequences() -> None:
    # A shared expert gets (B T, features).
    model = make_model("llama")
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x.flatten(0, 1)).reshape(x.shape)
    parameters = trained(model)
    batches = [padded(make_rows(6, 3), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    assert (
        relative_error(read_in_backward(model, parameters, batches, v).inner_products, expected)
        < 1e-4
    )
    # An expert of its own gets some of them, in an order of its own.
    mlp.forward = lambda x: forward(x.flatten(0, 1)[1:]).sum() + 0 * x
    with pytest.raises(BypassedModule, match="belongs to no row"):
        read_in_backward(model, parameters, batches, v)
    assert not check_estimator(IN_BACKWARD, model, parameters, batches, v, 4).passed


@pytest.mark.parametrize("size", [1e-2, 1e-6])
def test_in_backward_reads_norms_that_scale_by_one_and_a_little(size: float) -> None:
    model = make_model("gemma3", dtype=torch.bfloat16)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("norm" in name)
    parameters = trained(model)
    batches = [padded(make_rows(6, 3), TASKS)]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    largest = max(part.abs().max() for part in v)
    v = [part * (size / largest) for part in v]
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v)
    assert relative_error(found.inner_products, expected) < 5e-2


def test_half_precision_is_judged_as_such_whatever_the_weights_are_kept_in() -> None:
    model = make_model("qwen3")
    parameters = trained(model)
    batches = [padded(make_rows(2, 1), [0, 1])]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    forward = model.forward
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(forward)  # as accelerate does
    checks = {
        half: check_estimator(IN_BACKWARD, model, parameters, batches, v, 4, half_precision=half)
        for half in (True, False)
    }
    assert checks[True].passed
    assert checks[True].max_relative_error > checks[False].tolerance


def test_in_backward_names_what_it_does_not_cover() -> None:
    config = LoraConfig(r=4, target_modules=["q_proj"], use_dora=True)
    model = get_peft_model(make_model("llama"), config)
    uncovered = without_rule(model, trained(model)).modules
    assert uncovered
    assert all("magnitude" in name for name in uncovered)


def test_in_backward_notices_a_module_that_a_fused_kernel_bypasses() -> None:
    model = make_model("llama")
    projection = model.model.layers[0].mlp.up_proj
    weight = projection.weight
    # What a fused kernel does: use the weight without calling the module.
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * (x @ weight.T))
    parameters = trained(model)
    batches = [padded(make_rows(2, 6), [0, 1])]
    with pytest.raises(BypassedModule, match=r"layers\.0\.mlp\.up_proj"):
        read_in_backward(model, parameters, batches, random_v(parameters))
    check = check_estimator(IN_BACKWARD, model, parameters, batches, random_v(parameters), 2)
    assert not check.passed
    assert "up_proj" in check.reason


def test_a_module_that_took_no_part_has_no_share() -> None:
    """An image tower on rows of text, an expert without a token."""
    model = make_model("llama")
    model.tower = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Conv2d(4, 4, 1))
    parameters = trained(model)
    assert without_rule(model, parameters).modules == []
    batches = [padded(make_rows(6, 6), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v).inner_products
    assert relative_error(found, expected) < 1e-4


def test_a_module_without_a_rule_that_takes_part_is_told() -> None:
    model = make_model("llama")
    model.bias_of_logits = torch.nn.Parameter(torch.zeros(61))
    forward = model.forward

    def biased(**inputs):
        output = forward(**inputs)
        output.logits = output.logits + model.bias_of_logits
        return output

    model.forward = biased
    parameters = trained(model)
    batches = [padded(make_rows(6, 6), TASKS)]
    with pytest.raises(BypassedModule, match="LlamaForCausalLM"):
        read_in_backward(model, parameters, batches, random_v(parameters))


class Another(torch.nn.Linear):
    """The same product written another way, as Falcon's."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input @ self.weight.T + (0 if self.bias is None else self.bias)


@pytest.mark.parametrize("frozen_bias", [False, True])
def test_linear_layers_of_other_classes_are_read(frozen_bias: bool) -> None:
    model = make_model("llama", mlp_bias=True)
    mlp = model.model.layers[0].mlp
    mlp.up_proj, before = Another(32, 48), mlp.up_proj
    mlp.up_proj.load_state_dict(before.state_dict())
    mlp.down_proj, before = Conv1D(32, 48), mlp.down_proj
    mlp.down_proj.load_state_dict({"weight": before.weight.T, "bias": before.bias})
    for layer in (mlp.up_proj, mlp.down_proj):
        layer.bias.requires_grad_(not frozen_bias)
    parameters = trained(model)
    batches = [padded(make_rows(6, 6), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = read_in_backward(model, parameters, batches, v).inner_products
    assert without_rule(model, parameters).modules == []
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_in_backward_under_bfloat16_autocast(family: str) -> None:
    model = make_model(family)
    parameters = trained(model)
    batches = [padded(make_rows(6, 8), TASKS)]
    # The direction in which scores are used: a gradient, not a random vector, whose products
    # cancel to the size of bfloat16's rounding.
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16)

    found = read_in_backward(model, parameters, batches, v, context=autocast)
    assert relative_error(found.inner_products, expected) < 5e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_finite_difference_agrees_with_the_reference(family: str) -> None:
    model = make_model(family)
    parameters = trained(model)
    batches = [padded(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    found = finite_difference_scores(model, parameters, batches, v, 4, epsilon=1e-4)
    assert relative_error(found.inner_products, expected) < 5e-3
    assert torch.isfinite(found.standard_errors).all()


def test_standard_errors_are_those_of_a_ratio_estimate() -> None:
    x = torch.tensor([1.0, 4.0, 2.0, 9.0], dtype=torch.float64)
    n = torch.tensor([2, 5, 3, 7])
    scores = scores_from_rows(x, n, torch.tensor([0, 0, 0, 1]), 3)
    ratio = 7 / 10
    residual = sum((a - ratio * b) ** 2 for a, b in zip([1, 4, 2], [2, 5, 3], strict=True))
    assert scores.inner_products[0].item() == pytest.approx(ratio, rel=1e-12)
    expected = (residual * 3 / 2) ** 0.5 / 10
    assert scores.standard_errors[0].item() == pytest.approx(expected, rel=1e-12)
    assert torch.isnan(scores.standard_errors[1])  # one row
    assert torch.isnan(scores.inner_products[2])  # none


def test_measuring_leaves_weights_gradients_and_random_streams_alone() -> None:
    model = make_model("qwen3")
    parameters = trained(model)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    batches = [padded(make_rows(6, 1), TASKS)]
    before, state = fingerprint(parameters), torch.get_rng_state()
    v = direction(model, parameters, batches, torch.full((4,), 0.25)).v
    per_task_scores(model, parameters, batches, v, 4)
    finite_difference_scores(model, parameters, batches, v, 4, epsilon=1e-3)
    with look_ahead(model, parameters, batches, torch.full((4,), 0.25), 0.1):
        assert fingerprint(parameters) != before
    assert check_estimator(IN_BACKWARD, model, parameters, batches, v, 4).passed
    assert fingerprint(parameters) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all((parameter.grad == 1).all() for parameter in parameters)


def test_self_check_catches_an_estimator_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("qwen3")
    parameters = trained(model)
    batches = [padded(make_rows(2, 1), [0, 1])]
    v = direction(model, parameters, batches, torch.tensor([0.5, 0.5])).v
    assert check_estimator(IN_BACKWARD, model, parameters, batches, v, 2).passed
    rule = backward_rules._linear_rule

    def wrong_rule(
        module: torch.nn.Module, parts: dict[str, torch.Tensor]
    ) -> backward_rules.Shares:
        shares = rule(module, parts)
        return lambda inputs, gradient: 1.5 * shares(inputs, gradient)

    monkeypatch.setattr(backward_rules, "_linear_rule", wrong_rule)
    check = check_estimator(IN_BACKWARD, model, parameters, batches, v, 2)
    assert not check.passed
    assert "off by" in check.reason


@pytest.mark.parametrize("error", [RuntimeError, TypeError, torch.OutOfMemoryError, IndexError])
def test_an_estimator_that_raises_is_not_taken_and_the_run_goes_on(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("qwen3")
    parameters = trained(model)
    batches = [padded(make_rows(2, 1), [0, 1])]
    v = random_v(parameters)

    def broken_rule(module: torch.nn.Module, parts: dict[str, torch.Tensor]):
        def shares(inputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
            raise error("a kernel of another kind\nmore of it")

        return shares

    monkeypatch.setattr(backward_rules, "_linear_rule", broken_rule)
    check = check_estimator(IN_BACKWARD, model, parameters, batches, v, 2)
    assert not check.passed
    assert error.__name__ in check.reason
    assert "a kernel of another kind" in check.reason
    assert "more of it" not in check.reason
    assert not any(module._forward_hooks for module in model.modules())


def test_packed_rows_have_the_losses_of_padded_ones() -> None:
    model = make_model("qwen3", attn_implementation="sdpa")
    rows = make_rows(6, 1)
    apart, tokens = row_losses(model, padded(rows, TASKS))
    together, same_tokens = row_losses(model, packed(rows, TASKS))
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-4)
    assert torch.equal(tokens, same_tokens)


def test_task_losses_are_token_means_and_nan_without_rows() -> None:
    model = make_model("llama")
    batch = padded(make_rows(3, 1), [0, 0, 2])
    sums, tokens = row_losses(model, batch)
    losses = task_losses(model, [batch], 3)
    expected = (sums[0] + sums[1]) / (tokens[0] + tokens[1])
    assert losses.means[0].item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.isnan(losses.means[1])
    model_loss = model(
        **batch.inputs, labels=torch.where(batch.row_of_token == 2, batch.labels, -100)
    ).loss
    assert losses.means[2].item() == pytest.approx(model_loss.item(), rel=1e-6)


@pytest.mark.parametrize("value", [0.5, 1e-4])
def test_the_length_of_float16_numbers_is_that_of_their_float64_squares(value: float) -> None:
    """Whose sum is beyond float16, and each of which is below it."""
    numbers = torch.full((3, 400_000), value, dtype=torch.float16)
    assert norm([numbers, numbers[0]]) == pytest.approx(
        float(numbers[0, 0]) * 1_600_000**0.5, rel=1e-6
    )
