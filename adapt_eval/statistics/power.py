"""What a comparison could have found."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from adapt_eval.statistics.paired import Estimate

# Normal quantiles at 0.975 and 0.8: alpha of 5 %, power of 80 %.
FACTOR = 2.80
ALPHA, POWER = 0.05, 0.8


def planning_error(difference: Estimate) -> float:
    """The standard error, or what stands for it where nothing varies.

    Where no item differs the SE is 0, but the items seen do not rule every difference out: at 95 %
    as many as 3/C of all may differ (the rule of three; C items or clusters), and the SE of that is
    taken.
    """
    if difference.standard_error == 0:
        return math.sqrt(3) / _independent(difference)
    return difference.standard_error


def minimum_detectable_effect(difference: Estimate) -> float:
    """Smallest true difference that a test over many items at 5 % finds in 4 of 5 cases: 2.80 SE.
    Before any correction for several tests."""
    return FACTOR * planning_error(difference)


def detectable(error: float, df: float, comparisons: int = 1) -> float:
    """Smallest true difference found in 4 of 5 cases by the hardest of Holm's steps, the first:
    (t(1 - 0.025/m) + t(0.8)) SE, with m comparisons and Student's quantiles.

    Args:
        error: as of `planning_error`.
        df: degrees of freedom; NaN comes back below 1.
        comparisons: m.
    """
    if math.isnan(error) or df < 1:
        return math.nan
    reached = float(stdtrit(df, 1 - ALPHA / 2 / comparisons)) + float(stdtrit(df, POWER))
    return reached * error


def largest_effect(difference: Estimate, interval: tuple[float, float]) -> float:
    """What is ruled out lies above this: the farther end of the interval, or 3/C."""
    if difference.standard_error == 0:
        return max(abs(difference.mean), 3 / _independent(difference))
    return max(abs(interval[0]), abs(interval[1]))


def _independent(difference: Estimate) -> float:
    """C: clusters, or items where they are independent."""
    return max(1.0, difference.df + 1)
