"""What each run spent, and where: read from the training ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.schema import Reallocation, Spent


def spent(arms: Sequence[Arm], scores: Mapping[str, float]) -> dict[str, Spent | None]:
    """Effective training tokens of each arm: those that changed the weights; means over seeds.

    Args:
        scores: arm -> unweighted mean of its benchmark scores, 0 to 1.
    """
    lines: dict[str, Spent | None] = {}
    for arm in arms:
        ledgers = [run.ledger for run in arm.runs if run.ledger is not None]
        if len(ledgers) < len(arm.runs):
            lines[arm.name] = None
            continue
        used = _mean([one.used for one in ledgers])
        budgets = [one.budget for one in ledgers if one.budget is not None]
        lines[arm.name] = Spent(
            unit=ledgers[0].unit,
            budget=_mean(budgets) if budgets else None,
            used=used,
            meta_tokens=_mean([one.meta_tokens for one in ledgers]),
            tokens_spent_before=_mean([one.tokens_spent_before for one in ledgers]),
            score=scores[arm.name],
            score_per_million=scores[arm.name] / (used / 1e6) if used else None,
        )
    return lines


def shares(arm: Arm) -> dict[str, float] | None:
    """Task -> its share of the tokens, the mean over seeds; None without a ledger."""
    found: dict[str, list[float]] = {}
    for run in arm.runs:
        if run.ledger is None:
            return None
        tasks = run.ledger.tasks
        total = sum(one.tokens for one in tasks.values()) or 1
        for name, one in tasks.items():
            found.setdefault(name, []).append(one.tokens / total)
    return {name: sum(values) / len(arm.runs) for name, values in found.items()}


def reallocation(arms: Sequence[Arm], baseline: Arm) -> list[Reallocation]:
    """Which tasks got more: shares of all arms and their change against the baseline's. The task
    that changed most is first."""
    by_arm = {arm.name: shares(arm) for arm in arms}
    base = by_arm[baseline.name]
    names = list(dict.fromkeys(name for one in by_arm.values() if one for name in one))
    lines = []
    for name in names:
        got = {arm: one.get(name, 0.0) for arm, one in by_arm.items() if one}
        change = {
            arm: share - base.get(name, 0.0)
            for arm, share in got.items()
            if base is not None and arm != baseline.name
        }
        lines.append(Reallocation(task=name, shares=got, change=change))
    return sorted(lines, key=lambda one: -max(map(abs, one.change.values()), default=0.0))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
