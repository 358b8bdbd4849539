"""dJ/da of the whole objective, look-ahead included, against numerical differentiation in float64.

Tolerance 1e-6, relative to the largest component. The softmax weights, the inner step, the task
scores and the entropy all take part.
"""

from __future__ import annotations

import pytest
import torch

from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from tests.support.logit_gradient import logit_gradient
from tests.support.models import (
    FAMILIES,
    make_model,
    make_rows,
    packed,
    padded,
    read_in_backward,
    trained,
)

ETA, BETA, ENTROPY_WEIGHT = 0.3, 4.0, 0.1


@pytest.fixture(autouse=True)
def float64_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers' norms compute in float32 whatever the model's type; here that would be the
    floor of the comparison."""
    single = torch.Tensor.float
    monkeypatch.setattr(
        torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else single(self)
    )
    to = torch.Tensor.to

    def keep_wide(self, *args, **kwargs):
        if self.dtype == torch.float64 and args[:1] == (torch.float32,):
            return self
        return to(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", keep_wide)
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(
        torch.nn.functional,
        "softmax",
        lambda x, dim=None, dtype=None, **_: softmax(x, dim=dim),
    )


def objective(model, parameters, logits, train, validation) -> float:
    """J(a) by its definition."""
    p = torch.softmax(logits, 0)
    with look_ahead(model, parameters, train, p, ETA):
        losses = task_losses(model, validation, 4).means
    worst = torch.log(torch.exp(BETA * losses).mean()) / BETA
    return float(worst + ENTROPY_WEIGHT * (p * torch.log(p)).sum())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [padded, packed])
@pytest.mark.parametrize("estimator", ["per_task", "in_backward"])
def test_logit_gradient_is_the_derivative_of_the_objective(
    family: str, layout, estimator: str
) -> None:
    model = make_model(family, dtype=torch.float64)
    parameters = trained(model)
    tasks = [0, 1, 2, 3, 0, 2]
    train = [layout(make_rows(6, 11), tasks)]
    validation = [layout(make_rows(6, 12), tasks)]
    logits = torch.tensor([0.3, -0.4, 0.1, 0.6], dtype=torch.float64)
    p = torch.softmax(logits, 0)

    with look_ahead(model, parameters, train, p, ETA):
        losses = task_losses(model, validation, 4).means
        v = direction(model, parameters, validation, torch.softmax(BETA * losses, 0)).v
    if estimator == "per_task":
        scores = per_task_scores(model, parameters, train, v, 4)
    else:
        scores = read_in_backward(model, parameters, train, v)
    found = logit_gradient(p, -ETA * scores.inner_products, ENTROPY_WEIGHT)

    step = 2e-3
    expected = torch.zeros(4, dtype=torch.float64)
    for k in range(4):
        unit = torch.zeros(4, dtype=torch.float64)
        unit[k] = step
        far, near, back, farback = (
            objective(model, parameters, logits + m * unit, train, validation)
            for m in (2, 1, -1, -2)
        )
        expected[k] = (-far + 8 * near - 8 * back + farback) / (12 * step)
    assert (found - expected).abs().max() / expected.abs().max() < 1e-6
