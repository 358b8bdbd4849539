"""What is measured of a model whose parameters processes hold in parts, beside a whole one."""

from __future__ import annotations

import weakref
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from adapt_axolotl.metagradient import in_backward
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.estimators import ESTIMATORS
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.sharded import held_here, trained_parameters, whole
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model, relative_error
from tests.support.two_processes import make_lora_model

CPU = torch.device("cpu")
MODELS = {
    "qwen3": partial(make_model, "qwen3"),  # head and embedding are one parameter
    "gemma3": partial(make_model, "gemma3"),  # norms with a constant
    "lora": partial(make_lora_model, 2),
    "large lora": partial(make_lora_model, 8),
}
# float32 on both sides, but sums over processes round differently; finite differences magnify it.
TOLERANCE = {
    "in_backward": 1e-5,
    "split_batches": 1e-5,
    "finite_difference": 5e-3,
    "per_task": 1e-5,
}
GATHERED = 3.0  # what training has in `.grad`


def measure(model: torch.nn.Module, ranks: Ranks) -> dict[str, Any]:
    """v, losses and scores, by this process's part of the same rows."""

    def batches(seed: int, rows: list[int]):
        return make_measuring_rows(seed).batches(np.array(rows), rank=ranks.rank, ranks=ranks.count)

    parameters = trained_parameters(model)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, GATHERED)
    weights = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    # Two rows of a task and one of another: a process has none of one of them, or of both.
    training, validation = batches(1, [0, 1, 3]), batches(3, list(range(17)))
    found = direction(model, parameters, validation, weights, reduce=ranks.sum)
    with look_ahead(model, parameters, training, weights, 0.05, reduce=ranks.sum):
        ahead = direction(model, parameters, validation, weights, reduce=ranks.sum)
        losses_ahead = task_losses(model, validation, len(TASKS), ranks.sum).means
    losses_after = task_losses(model, validation, len(TASKS), ranks.sum).means
    scores = {
        one.name: one.scores(
            model, parameters, training, found.v, len(TASKS), reduce=ranks.sum
        ).inner_products
        for one in ESTIMATORS
    }
    kept = [bool((held_here(p.grad) == GATHERED).all()) for p in parameters]
    of_a_check = make_measuring_rows(1).batches(np.arange(2))
    check = check_estimator(IN_BACKWARD, model, parameters, of_a_check, found.v, len(TASKS))
    return {
        "v": [whole(part, CPU) for part in found.v],
        "ahead": [whole(part, CPU) for part in ahead.v],
        "held": sum(held_here(part).numel() for part in found.v),
        "losses": torch.stack([found.losses.means, losses_ahead, losses_after]),
        "scores": scores,
        "gradients kept": all(kept),
        "check": check,
    }


def measure_watched(model: torch.nn.Module, ranks: Ranks) -> dict[str, Any]:
    """The same, and how many numbers of v were whole at once by gathering. In a process of its own:
    what gathers stays replaced."""
    alive: list[weakref.ref[torch.Tensor]] = []
    numbers = [0]

    def watched(tensor: torch.Tensor, device: torch.device, shape: torch.Size) -> torch.Tensor:
        part = whole(tensor, device, shape)
        if part is not tensor:  # gathered
            alive.append(weakref.ref(part))
        numbers.append(sum(one.numel() for ref in alive if (one := ref()) is not None))
        return part

    in_backward.whole = watched
    return {**measure(model, ranks), "whole at once": max(numbers)}


@cache
def alone(kind: str) -> dict[str, Any]:
    return measure(MODELS[kind](), Ranks())


def assert_as_alone(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Losses, scores and the check of one process are those of a whole model."""
    assert found["losses"].numpy() == pytest.approx(expected["losses"].numpy(), rel=1e-6)
    for name, scores in expected["scores"].items():
        seen = torch.isfinite(scores)
        assert seen.tolist() == [True, True, False]
        assert relative_error(found["scores"][name][seen], scores[seen]) < TOLERANCE[name], name
    assert found["check"].passed


def assert_v_is_whole_a_module_at_a_time(processes: list[dict[str, Any]], kind: str) -> None:
    """And each process holds its part of it."""
    sizes = [part.numel() for part in processes[0]["v"]]
    assert sum(one["held"] for one in processes) == sum(sizes)
    # A small LoRA's is whole from the start, so that no backward gathers anything.
    of_a_module = 0 if kind == "lora" else max(sizes)
    assert [one["whole at once"] for one in processes] == [of_a_module] * 2
