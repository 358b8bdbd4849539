"""The mean of several benchmarks, for a family or the suite."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from adapt_eval.comparison.schema import BenchmarkComparison, Figures, SuiteComparison
from adapt_eval.statistics.paired import Estimate, pool

_FIGURES = set(Figures.model_fields) - {"run", "note", "says_nothing", "p_holm", "verdict"}


def pooled(parts: Sequence[BenchmarkComparison]) -> SuiteComparison:
    """The unweighted mean of benchmarks of one arm.

    The minimum detectable effect and the effect ruled out are the parts' own in quadrature: 2.80 SE
    where items differ. A benchmark on which no item differs adds what its items cannot exclude.
    """
    unknown = [one.task for one in parts if one.df < 1]
    if len(unknown) < len(parts):  # one item, or one cluster, has no standard error
        parts = [one for one in parts if one.df >= 1]
    mean = _pool(parts)
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
        "test": "t of the unweighted mean of benchmarks",
        "p_value": mean.p_value,
        "minimum_detectable_effect": math.hypot(*(one.minimum_detectable_effect for one in parts))
        / len(parts),
        "ruled_out_above": abs(mean.mean) + math.hypot(*halves) / len(parts),
    }
    if len(parts) == 1:
        figures = {key: getattr(parts[0], key) for key in _FIGURES}
    guessed = sum(one.says_nothing for one in parts)
    note = ""
    if guessed:
        note = f"both runs are at or below chance on {guessed} of {len(parts)} benchmarks"
    if unknown:
        said = f"too small to have an error, left out of the mean: {', '.join(unknown)}"
        note = f"{note}; {said}" if note else said
    return SuiteComparison(
        run=parts[0].run,
        **figures,
        note=note,
        says_nothing=guessed == len(parts),
        on_guesses=0 < guessed < len(parts) and not _differ_without_guesses(parts, mean),
    )


def _pool(parts: Sequence[BenchmarkComparison]) -> Estimate:
    return pool([Estimate(one.difference, one.standard_error, one.df, one.n) for one in parts])


def _differ_without_guesses(parts: Sequence[BenchmarkComparison], mean: Estimate) -> bool:
    """Whether the benchmarks that are not at chance differ the same way, at 5 %."""
    rest = _pool([one for one in parts if not one.says_nothing])
    return rest.p_value < 0.05 and rest.mean * mean.mean > 0
