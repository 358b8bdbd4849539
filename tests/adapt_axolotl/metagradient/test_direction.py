"""v in float16 is that of float32, whatever a token weighs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from adapt_axolotl.metagradient import direction as module
from adapt_axolotl.metagradient.direction import Direction, direction
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.self_check import check_estimator
from tests.support.models import FAMILIES, make_model, make_rows, padded, trained

TASKS = [0, 1, 2, 0, 3, 1]


def flat(v: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.double().flatten() for part in v])


def make_pair(family: str) -> tuple[Any, Any]:
    """(in float16, the same weights in float32)."""
    return (
        make_model(family, dtype=torch.float16),
        make_model(family, dtype=torch.float16).float(),
    )


def measured(model: Any, weight: float, **keys: Any) -> Direction:
    batches = [padded(make_rows(6, seed), TASKS) for seed in (9, 10)]
    return direction(model, trained(model), batches, torch.full((4,), weight), **keys)


def assert_near(found: Direction, expected: Direction) -> None:
    here, there = flat(found.v), flat(expected.v)
    assert torch.nn.functional.cosine_similarity(here, there, dim=0) > 0.999
    assert float(here.norm()) == pytest.approx(float(there.norm()), rel=1e-2)
    assert torch.allclose(found.losses.means, expected.losses.means, rtol=1e-2)


# By a token's weight alone; at the largest one, no scale but 1 fits into float16.
@pytest.mark.parametrize("weight", [1e-6, 1e-5, 1e-3, 1.0, 1e3, 2e4])
@pytest.mark.parametrize("family", FAMILIES)
def test_float16_weights_give_the_direction_of_float32(family: str, weight: float) -> None:
    half, whole = make_pair(family)
    found = measured(half, weight)
    assert {part.dtype for part in found.v} == {torch.float32}
    assert_near(found, measured(whole, weight))


def test_float16_autocast_gives_the_direction_of_float32() -> None:
    model = make_model("llama")
    expected = measured(model, 1e-6)
    model.forward = torch.autocast("cpu", dtype=torch.float16)(model.forward)  # as accelerate does
    assert_near(measured(model, 1e-6, float16=True), expected)


def test_other_types_are_not_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = make_model("llama", dtype=dtype)
        expected = measured(model, 1e-3)
        with monkeypatch.context() as patch:
            patch.setattr(module, "LARGEST_SCALE", 3.0)
            found = measured(model, 1e-3)
        assert all(torch.equal(a, b) for a, b in zip(found.v, expected.v, strict=True))
        assert {part.dtype for part in found.v} == {dtype}


def test_a_loss_that_is_not_finite_is_no_matter_of_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("llama", dtype=torch.float16)
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    passes, summed = [], module._summed
    monkeypatch.setattr(module, "_summed", lambda *a: passes.append(1) or summed(*a))
    assert torch.isnan(measured(model, 1.0).losses.means).all()
    assert len(passes) == 1


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-7])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_backward_reads_along_a_direction_below_float16(
    family: str, autocast: bool, size: float
) -> None:
    model = make_model(family, dtype=torch.float32 if autocast else torch.float16)
    if autocast:
        model.forward = torch.autocast("cpu", dtype=torch.float16)(model.forward)
    v = [part * size for part in measured(model, 0.25, float16=True).v]
    batches = [padded(make_rows(2, 1), [0, 1])]
    check = check_estimator(IN_BACKWARD, model, trained(model), batches, v, 2, half_precision=True)
    assert check.max_relative_error < 1e-2
