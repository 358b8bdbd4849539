"""Keys that Trainer reads when the model is loaded, checked before: minutes earlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapt_axolotl.budget.counting_schedules import COUNT_STEPS, counts_steps

# What an evaluation gives beside `eval_<task>_loss`.
LOSS, WORST_LOSS, OBJECTIVE = "eval_loss", "eval_worst_loss", "eval_objective"


def check_late_keys(cfg: Mapping[str, Any], tasks: Sequence[str]) -> None:
    """
    Raises:
        ValueError: `lr_scheduler` cannot follow a budget, or no evaluation gives
            `metric_for_best_model`.
    """
    scheduler, metric = cfg.get("lr_scheduler"), cfg.get("metric_for_best_model")
    if scheduler in COUNT_STEPS:
        raise ValueError(counts_steps(str(scheduler)))
    if metric is not None:
        check_best_metric(str(metric), tasks)


def check_best_metric(name: str, tasks: Sequence[str]) -> None:
    """
    Args:
        name: `metric_for_best_model`, with or without `eval_`.
        tasks: the K names.

    Raises:
        ValueError: an evaluation gives no such metric.
    """
    known = [LOSS, WORST_LOSS, OBJECTIVE, *(f"eval_{task}_loss" for task in tasks)]
    if full_name(name) not in known:
        raise ValueError(
            f"metric_for_best_model: {name}: an evaluation of this recipe gives no such metric; "
            f"choose from {', '.join(known)}"
        )


def full_name(metric: str) -> str:
    """A metric as Trainer looks it up."""
    return metric if metric.startswith("eval_") else f"eval_{metric}"
