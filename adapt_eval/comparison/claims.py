"""What was claimed: something about ways of training, or about these models only."""

from __future__ import annotations

from collections.abc import Sequence

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.schema import SuiteComparison
from adapt_eval.comparison.verdict import BETTER, EQUIVALENT, WORSE


def claim(suite: SuiteComparison, arm: Arm, base: Arm) -> str:
    """One sentence for the primary test.

    Args:
        suite: with its verdict.
    """
    if min(len(arm.runs), len(base.runs)) > 1:
        a, b = f"method {arm.name}", f"method {base.name}"
        said = {BETTER: f"{a} beats {b}", WORSE: f"{b} beats {a}"}.get(suite.verdict)
        if suite.verdict.startswith(EQUIVALENT):
            said = f"{a} and {b} are equivalent"
        over = f"{len(arm.runs)} and {len(base.runs)} training seeds"
        if suite.seeds_paired:
            over = f"{len(arm.runs)} training seeds that both share"
        return f"{said or f'no difference between {a} and {b} is shown'} over {over} and over items"
    these = "these two models" if len(arm.runs) == len(base.runs) else "these models"
    said = f"no difference between {these} is shown"
    if suite.verdict in (BETTER, WORSE):
        said = f"{these} differ"
    elif suite.verdict.startswith(EQUIVALENT):
        said = f"{these} are equivalent"
    return f"{said}; nothing is said about methods"


def seeds_note(arms: Sequence[Arm]) -> str:
    """What intervals and tests cover."""
    single = [arm.name for arm in arms if len(arm.runs) == 1]
    if not single:
        return (
            "the seed is the unit: intervals and tests cover the choice of training seeds and of "
            "items; the seed spread is shown beside them"
        )
    who = "each run" if len(single) == len(arms) else ", ".join(single)
    return (
        f"one training seed for {who}: intervals and tests that it is part of cover the choice of "
        "items, not that of the seed; another seed may differ by more"
    )
