"""Effects of tasks on targets at one set of weights, beside what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapt_axolotl.metagradient.group_products import GroupProducts, group_products
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.step_sizes import adam_step_sizes
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.effects import of_group_products
from tests.support.models import make_exact_model, make_rows, padded, relative_error, trained

GROUPS, ROWS = 4, 12
TARGETS, TASKS = (1, 2), (3, 4, 5)  # seeds of their rows


def batches(seed: int) -> list[TaskBatch]:
    """One a group, of rows of unlike length."""
    rows = make_rows(ROWS, seed)
    return [padded(rows[group::GROUPS], [0] * (ROWS // GROUPS)) for group in range(GROUPS)]


def mean_loss(model: torch.nn.Module, seed: int) -> torch.Tensor:
    found = [row_losses(model, batch, whole_logits=True) for batch in batches(seed)]
    return sum(sums.sum() for sums, _ in found) / sum(tokens.sum() for _, tokens in found)


def step_sizes(parameters: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(p.shape, generator=generator, dtype=p.dtype) for p in parameters]


def products(model: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> GroupProducts:
    return group_products(
        model,
        parameters,
        step_sizes(parameters),
        [[[batch] for batch in batches(seed)] for seed in TARGETS],
        # The rows of a group may come in several micro-batches.
        [[[batch, batch] if seed == TASKS[0] else [batch] for batch in batches(seed)]
         for seed in TASKS],
    )  # fmt: skip


def effects(model: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> np.ndarray:
    found = products(model, parameters)
    return of_group_products(
        found.products.numpy(), found.target_tokens.numpy(), found.task_tokens.numpy()
    ).values


def test_they_are_those_of_one_backward_a_task_and_target() -> None:
    model = make_exact_model("qwen3")
    parameters = trained(model)

    def gradient(seed: int) -> list[torch.Tensor]:
        return list(torch.autograd.grad(mean_loss(model, seed), parameters))

    expected = [
        [
            sum(
                float((one * size * other).sum())
                for one, size, other in zip(
                    gradient(target), step_sizes(parameters), gradient(task), strict=True
                )
            )
            for target in TARGETS
        ]
        for task in TASKS
    ]
    found = effects(model, parameters)
    assert found == pytest.approx(np.array(expected), rel=1e-10)


def test_they_are_how_far_a_step_on_the_task_lowers_the_loss_of_the_target() -> None:
    model = make_exact_model("qwen3")
    parameters = trained(model)
    found = effects(model, parameters)
    small = 1e-5
    for k, task in enumerate(TASKS):
        gradient = torch.autograd.grad(mean_loss(model, task), parameters)
        losses = []
        for sign in (-1, 1):
            moves = [
                sign * small * size * one
                for size, one in zip(step_sizes(parameters), gradient, strict=True)
            ]
            with torch.no_grad():
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter += move
                losses.append([float(mean_loss(model, target)) for target in TARGETS])
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter -= move
        falls = (np.array(losses[1]) - np.array(losses[0])) / (2 * small)
        assert found[k] == pytest.approx(falls, rel=1e-5)


def test_training_keeps_its_weights_and_gradients() -> None:
    model = make_exact_model("llama")
    parameters = trained(model)
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 3.0)
    products(model, parameters)
    assert relative_error([p.detach() for p in parameters], before) == 0
    assert all(bool((p.grad == 3.0).all()) for p in parameters if p.grad is not None)


def test_step_sizes_are_how_far_adam_moves_for_a_gradient() -> None:
    """Of a gradient that stays, moments are that gradient and its square, whatever the step."""
    generator = torch.Generator().manual_seed(1)
    parameter = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    other = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    groups = [{"params": [other], "lr": 1e-4}, {"params": [parameter]}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0, eps=1e-3)
    gradients = [
        torch.randn(one.shape, generator=generator, dtype=torch.float64)
        for one in (parameter, other)
    ]
    for _ in range(3):
        before = [one.detach().clone() for one in (parameter, other)]
        for one, gradient in zip((parameter, other), gradients, strict=True):
            one.grad = gradient.clone()
        optimizer.step()
    sizes = adam_step_sizes(optimizer, [parameter, other])
    for one, size, gradient, last in zip((parameter, other), sizes, gradients, before, strict=True):
        assert torch.allclose(-size * gradient, one.detach() - last, rtol=1e-12, atol=0)


def test_an_optimizer_that_does_not_tell_is_refused() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"SGD keeps no second moments .* optimizer: adamw_torch"):
        adam_step_sizes(torch.optim.SGD([parameter], lr=0.1), [parameter])
