"""What each run spent, and where: read from the training ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapt_eval.comparison.arms import Arm


def spent(arms: Sequence[Arm], scores: Mapping[str, float]) -> dict[str, Any]:
    """Effective training tokens of each arm: those that changed the weights; means over seeds.

    Args:
        scores: arm -> unweighted mean of its benchmark scores, 0 to 1.
    """
    lines: dict[str, Any] = {}
    for arm in arms:
        ledgers = [run.ledger for run in arm.runs]
        if not all(ledgers):
            lines[arm.name] = None
            continue
        used = _mean([one["used"] for one in ledgers if one])
        lines[arm.name] = {
            "unit": next(str(one["unit"]) for one in ledgers if one),
            "budget": _mean([one["budget"] for one in ledgers if one]),
            "used": used,
            "meta_tokens": _mean([one.get("meta_tokens", 0) for one in ledgers if one]),
            "score": scores[arm.name],
            "score_per_million": scores[arm.name] / (used / 1e6) if used else None,
        }
    return lines


def shares(arm: Arm) -> dict[str, float] | None:
    """Task -> its share of the tokens, the mean over seeds; None without a ledger."""
    if not all(run.ledger for run in arm.runs):
        return None
    found: dict[str, list[float]] = {}
    for run in arm.runs:
        assert run.ledger is not None
        tasks = run.ledger["tasks"]
        total = sum(one["tokens"] for one in tasks.values()) or 1
        for name, one in tasks.items():
            found.setdefault(name, []).append(one["tokens"] / total)
    return {name: sum(values) / len(arm.runs) for name, values in found.items()}


def reallocation(arms: Sequence[Arm], baseline: Arm) -> list[dict[str, Any]]:
    """Which tasks got more: shares of all arms and their change against the baseline's."""
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
        lines.append({"task": name, "shares": got, "change": change})
    return sorted(lines, key=lambda one: -max(map(abs, one["change"].values()), default=0.0))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
