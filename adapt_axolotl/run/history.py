"""A line of `history.jsonl`: the mixture, and what a meta step found.

Its keys are a contract; docs/architecture.md describes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.simplex import entropy


def history_line(
    step: int,
    ledger: TokenLedger,
    proportions: np.ndarray,
    update: MetaUpdate | None,
    measures: str | None,
    training_losses: np.ndarray | None = None,
    left_out: float | None = None,
) -> dict[str, Any]:
    """
    Args:
        step: optimizer steps taken.
        ledger: of the run.
        proportions: (K,) in force from now on.
        update: of a meta step that has just ended; None without one.
        measures: what the run learns from; None for a static mixture, and one that moves with
            every step.
        training_losses: (K,) of the step, where the mixture moves by them.
        left_out: the share of the trained parameters along which gradient products are not
            measured.
    """

    def named(values: np.ndarray | None) -> dict[str, float | None]:
        if values is None:
            return {}
        return {
            name: float(value) if np.isfinite(value) else None
            for name, value in zip(ledger.pools.tasks, values, strict=True)
        }

    multipliers = named(None if update is None else update.multipliers)
    return {
        "step": step,
        "tokens": ledger.used,
        "meta_tokens": ledger.meta_tokens,
        "proportions": named(proportions),
        "training_loss": named(training_losses),
        "validation_loss": named(None if update is None else update.validation_losses),
        "scores": named(None if update is None else update.scores),
        "score_ages": named(None if update is None else update.ages),
        "returns": named(None if update is None else update.returns),
        "return_errors": named(None if update is None else update.return_errors),
        "deviations": named(None if update is None else update.deviations),
        "over_noise": None if update is None else _number(update.over_noise),
        "multipliers": {name: value for name, value in multipliers.items() if value is not None},
        "objective": None if update is None else _number(update.objective),
        "entropy": float(entropy(proportions)),
        "estimator": measures,
        "left_out": left_out,
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
