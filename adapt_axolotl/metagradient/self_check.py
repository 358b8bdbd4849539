"""Compare an estimator with the reference on two rows, before its scores are believed.

The ways in which estimators go wrong without an error (a fused kernel that goes around a hook, a
compiled layer) are wrong by .14 and more, so a check on two rows finds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.in_backward import BypassedModule
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.router_loss import has_router_loss
from adapt_axolotl.metagradient.sharded import held_here
from adapt_axolotl.metagradient.task_batch import TaskBatch

# What kernels and modules that an estimator was not made for raise, out of memory among them. The
# reference is outside of it: where that fails, so does training.
_OF_A_KERNEL = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Check:
    """Outcome of a check; `reason` says what failed, `possible` whether there was a reference."""

    max_relative_error: float
    tolerance: float
    passed: bool
    reason: str = ""
    possible: bool = True


def check_estimator(
    estimator: Estimator,
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    half_precision: bool = False,
    fused_loss: bool = False,
    readable: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Check:
    """Check one estimator against `per_task` along the same parameters; the model should be in
    evaluation mode.

    Args:
        estimator: to check.
        batches: one row of each of two tasks.
        v: the direction that will be used.
        half_precision: the model computes in 16 bits, whatever its parameters are kept in.
        fused_loss: the training loss goes around the head.
        readable: in which an estimator that reads the training backward is run, as in training. The
            reference is not, so a plain form that computes something else than the model in
            training is found too.
    """
    tolerance = estimator.allowed_error(half_precision)
    before = fingerprint(parameters)
    v = estimator.leaves_out(model, parameters).without(v)
    # What training is read for has the router's loss in it.
    as_trained = not estimator.own_rows and has_router_loss(model)
    reference = per_task_scores(
        model, parameters, batches, v, num_tasks, as_trained=as_trained
    ).inner_products
    try:
        with contextlib.nullcontext() if estimator.own_rows else readable():
            found = estimator.scores(
                model,
                parameters,
                batches,
                v,
                num_tasks,
                half_precision=half_precision,
                fused_loss=fused_loss,
            ).inner_products
    except BypassedModule as error:
        return Check(float("inf"), tolerance, False, str(error))
    except _OF_A_KERNEL as error:
        said = str(error).strip().splitlines()
        reason = f"it ends in {type(error).__name__}: {said[0] if said else 'no message'}"
        return Check(float("inf"), tolerance, False, reason)
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


def fingerprint(parameters: Sequence[nn.Parameter]) -> list[int]:
    """A checksum of the bits of each parameter; of a sharded one, of what is held here."""
    kinds = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
    return [
        int(p.contiguous().view(kinds[p.element_size()]).sum(dtype=torch.int64))
        for p in map(held_here, parameters)
    ]
