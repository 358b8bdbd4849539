"""The mean of several benchmarks, for a family or the suite."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from adapt_eval.comparison.schema import (
    BenchmarkComparison,
    Figures,
    SuiteComparison,
    WeightedMean,
)
from adapt_eval.comparison.verdict import LEAST_ITEMS
from adapt_eval.statistics import equivalence
from adapt_eval.statistics.paired import Estimate, pool
from adapt_eval.statistics.power import detectable
from adapt_eval.statistics.two_level import TwoLevel, mean_of
from adapt_eval.statistics.weighted import precision_weights, weighted

_OWN = {"run", "note", "says_nothing", "too_few", "verdict", "p_holm", "p_equivalence_holm"}
_FIGURES = set(Figures.model_fields) - _OWN - {"detectable_after_holm"}


def pooled(
    parts: Sequence[BenchmarkComparison],
    smallest_effect: float,
    levels: Mapping[str, TwoLevel] | None = None,
) -> SuiteComparison:
    """The unweighted mean of benchmarks of one arm.

    Minimum detectable effect, planning error and the effect ruled out are the parts' own in
    quadrature: 2.80 SE where items differ. A benchmark on which no item differs adds what its items
    cannot exclude. Benchmarks of too few items to trust their error are left out, and named.

    Args:
        levels: of each benchmark, where both arms have several seeds: then the error is that over
            seeds and items.
    """
    small = [one.task for one in parts if one.too_few]
    if len(small) < len(parts):
        parts = [one for one in parts if not one.too_few]
    else:
        small = []
    mean = _pool(parts, levels)
    error = math.hypot(*(one.planning_error for one in parts)) / len(parts)
    detected = math.hypot(*(one.minimum_detectable_effect for one in parts)) / len(parts)
    if levels:
        error = mean.standard_error or error
        detected = detectable(error, mean.df)
    halves = [one.ruled_out_above - abs(one.difference) for one in parts]
    low, high = mean.interval()
    figures: dict[str, Any] = {
        "n": mean.n,
        "a": statistics.fmean(one.a for one in parts),
        "b": statistics.fmean(one.b for one in parts),
        "difference": mean.mean,
        "standard_error": mean.standard_error,
        "df": mean.df,
        "ci_low": low,
        "ci_high": high,
        "test": "two-level t" if levels else "t of the unweighted mean of benchmarks",
        "p_value": mean.p_value,
        "p_equivalence": equivalence.of_mean(mean, error, smallest_effect),
        "planning_error": error,
        "minimum_detectable_effect": detected,
        "ruled_out_above": (
            max(abs(low), abs(high))
            if levels and mean.standard_error
            else abs(mean.mean) + math.hypot(*halves) / len(parts)
        ),
    }
    if len(parts) == 1:
        figures = {key: getattr(parts[0], key) for key in _FIGURES}
    guessed = sum(one.says_nothing for one in parts)
    note = ""
    if guessed:
        note = f"both runs are at or below chance on {guessed} of {len(parts)} benchmarks"
    if small:
        said = (
            f"fewer than {LEAST_ITEMS} independent items, left out of the mean: {', '.join(small)}"
        )
        note = f"{note}; {said}" if note else said
    return SuiteComparison(
        run=parts[0].run,
        **figures,
        note=note,
        says_nothing=guessed == len(parts),
        too_few=all(one.too_few for one in parts),
        weighted=_weighted(parts, levels),
        on_guesses=0 < guessed < len(parts) and not _differ_without_guesses(parts, mean, levels),
    )


def _estimates(parts: Sequence[BenchmarkComparison]) -> list[Estimate]:
    return [Estimate(one.difference, one.standard_error, one.df, one.n) for one in parts]


def _pool(parts: Sequence[BenchmarkComparison], levels: Mapping[str, TwoLevel] | None) -> Estimate:
    if levels:
        return mean_of([levels[one.task] for one in parts])
    return pool(_estimates(parts))


def _weighted(
    parts: Sequence[BenchmarkComparison], levels: Mapping[str, TwoLevel] | None
) -> WeightedMean | None:
    """Over seeds and items the weights are those of the items: what the seeds do is common."""
    if any(one.df < 1 for one in parts):
        return None
    if levels:
        own = [levels[one.task] for one in parts]
        mean: Estimate = mean_of(own, precision_weights([one.items for one in own]))
    else:
        mean = weighted(_estimates(parts))
    low, high = mean.interval()
    return WeightedMean(
        difference=mean.mean,
        standard_error=mean.standard_error,
        df=mean.df,
        ci_low=low,
        ci_high=high,
        p_value=mean.p_value,
    )


def _differ_without_guesses(
    parts: Sequence[BenchmarkComparison], mean: Estimate, levels: Mapping[str, TwoLevel] | None
) -> bool:
    """Whether the benchmarks that are not at chance differ the same way, at 5 %."""
    rest = _pool([one for one in parts if not one.says_nothing], levels)
    return rest.p_value < 0.05 and rest.mean * mean.mean > 0
