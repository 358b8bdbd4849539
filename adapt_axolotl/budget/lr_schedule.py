"""Let the learning rate follow the token budget instead of the step count.

The number of steps that a budget buys is not known before it is spent: the mixture decides how long
the rows are. The schedule is therefore read at the fraction of the budget that is spent, and ends
exactly with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from adapt_axolotl.budget.counting_schedules import counts_steps


def follow_budget(
    scheduler: LRScheduler,
    optimizer: Optimizer,
    num_training_steps: int,
    progress: Callable[[], float],
) -> LambdaLR:
    """The same curve, read at budget progress.

    Args:
        scheduler: made for `num_training_steps` steps, warm-up included.
        optimizer: whose rate is scheduled.
        num_training_steps: the length that `scheduler` was made for.
        progress: the spent share of the budget, 0 to 1.

    Raises:
        ValueError: the schedule is not a function of the step alone.
    """
    if not isinstance(scheduler, LambdaLR):
        raise ValueError(counts_steps(type(scheduler).__name__))
    curves = scheduler.lr_lambdas
    for group in optimizer.param_groups:
        # The first scheduler has already scaled the rate; start again from the configured one.
        group["lr"] = group["initial_lr"]

    def at_progress(curve: Callable[[Any], float]) -> Callable[[int], float]:
        # LambdaLR counts steps; its count is ignored, the budget's progress is the truth.
        return lambda _: curve(progress() * num_training_steps)

    return LambdaLR(optimizer, [at_progress(curve) for curve in curves])
