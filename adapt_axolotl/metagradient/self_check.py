"""Compare an estimator with the reference on two rows, before its scores are believed.

The ways in which estimators go wrong without an error (a fused kernel that goes around a hook, a
compiled layer) are wrong by .14 and more, so a check on two rows finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.finite_difference import finite_difference_scores
from adapt_axolotl.metagradient.in_backward import InBackward, UnfiredHooks
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.metagradient.task_batch import TaskBatch


@dataclass(frozen=True)
class Check:
    """Outcome of a check; `reason` says what failed, `possible` whether there was a reference."""

    max_relative_error: float
    tolerance: float
    passed: bool
    reason: str = ""
    possible: bool = True


def check_estimator(
    name: str,
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    epsilon: float = 1e-4,
    half_precision: bool = False,
) -> Check:
    """Check one estimator against `per_task`; the model should be in evaluation mode.

    Args:
        name: `in_backward` or `finite_difference`.
        batches: one row of each of two tasks.
        v: the direction that will be used.
        epsilon: step of the finite difference.
        half_precision: the model computes in 16 bits, whatever its parameters are kept in.
    """
    tolerance = tolerance_of(name, half_precision)
    before = fingerprint(parameters)
    reference = per_task_scores(model, parameters, batches, v, num_tasks).inner_products
    try:
        if name == "in_backward":
            found = _in_backward(model, parameters, batches, v, num_tasks)
        else:
            found = finite_difference_scores(
                model, parameters, batches, v, num_tasks, epsilon=epsilon
            ).inner_products
    except UnfiredHooks as error:
        return Check(float("inf"), tolerance, False, str(error))
    if fingerprint(parameters) != before:
        return Check(float("inf"), tolerance, False, "it changed the weights")
    seen = torch.isfinite(reference)
    if not seen.any():
        return Check(float("inf"), tolerance, False, "gradients are not finite", possible=False)
    expected, got = reference[seen], found[seen]
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    error_size = float(((got - expected).abs() / scale).nan_to_num(nan=torch.inf).max())
    if error_size > tolerance:
        return Check(
            error_size, tolerance, False, f"it is off by {error_size:.1e}, allowed {tolerance:.2g}"
        )
    gap = expected.max() - expected.min()
    if gap > 2 * tolerance * scale and not torch.equal(got.argsort(), expected.argsort()):
        return Check(error_size, tolerance, False, "it puts the tasks in another order")
    return Check(error_size, tolerance, True)


def tolerance_of(name: str, half_precision: bool) -> float:
    """Largest relative error that is taken for rounding."""
    if name == "finite_difference":
        return 0.25
    return 5e-2 if half_precision else 1e-3


def fingerprint(parameters: Sequence[nn.Parameter]) -> list[int]:
    """A checksum of the bits of each parameter."""
    kinds = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
    return [
        int(p.detach().contiguous().view(kinds[p.element_size()]).sum(dtype=torch.int64))
        for p in parameters
    ]


def _in_backward(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
) -> Tensor:
    listener = InBackward(model, parameters)
    listener.listen(v)
    products = []
    try:
        for batch in batches:
            listener.begin(batch.row_of_token)
            sums, _ = row_losses(model, batch)
            torch.autograd.grad(sums.sum(), list(parameters), allow_unused=True)
            products.append(listener.collect(1.0, len(batch.task_of_row)))
    finally:
        listener.stop()
    tokens = torch.cat([batch.tokens_of_rows() for batch in batches])
    tasks = torch.cat([batch.task_of_row for batch in batches])
    return scores_from_rows(torch.cat(products), tokens, tasks, num_tasks).inner_products
