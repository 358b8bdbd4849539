"""From p-values to verdicts, corrected for how many comparisons there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from adapt_eval.comparison.schema import Figures
from adapt_eval.comparison.verdict import verdict
from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.power import detectable

Level = TypeVar("Level", bound=Figures)


def judged(level: Sequence[Level], smallest_effect: float) -> list[Level]:
    """The same with p-values corrected over all of the level, and with verdicts."""
    return [
        one.model_copy(
            update={
                "p_holm": p_value,
                "p_equivalence_holm": p_equivalence,
                "detectable_after_holm": found,
                "verdict": verdict(
                    one.difference,
                    p_value,
                    p_equivalence,
                    found,
                    smallest_effect,
                    too_few=one.too_few,
                    at_chance=one.says_nothing,
                    on_guesses=getattr(one, "on_guesses", False),
                ),
            }
        )
        for one, p_value, p_equivalence, found in zip(
            level,
            _corrected([one.p_value for one in level]),
            _corrected([one.p_equivalence for one in level]),
            [detectable(one.planning_error, one.df, len(level)) for one in level],
            strict=True,
        )
    ]


def _corrected(p_values: Sequence[float]) -> list[float]:
    """After Holm; what does not exist counts as one of them, and stays NaN."""
    adjusted = holm([1.0 if math.isnan(one) else one for one in p_values])
    return [
        math.nan if math.isnan(raw) else one for raw, one in zip(p_values, adjusted, strict=True)
    ]
