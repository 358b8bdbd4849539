"""What a comparison could have found."""

from __future__ import annotations

import math

from adapt_eval.statistics.paired import Estimate

# Normal quantiles at 0.975 and 0.8: alpha of 5 %, power of 80 %.
FACTOR = 2.80


def minimum_detectable_effect(difference: Estimate) -> float:
    """Smallest true difference that a test at 5 % finds in 4 of 5 cases: 2.80 SE.

    Where no item differs the SE is 0, but the items seen do not rule every difference out: at 95 %
    as many as 3/C of all may differ (the rule of three; C items or clusters), and the SE of that is
    taken. Before any correction for several tests.
    """
    if difference.standard_error == 0:
        return FACTOR * math.sqrt(3) / _independent(difference)
    return FACTOR * difference.standard_error


def largest_effect(difference: Estimate, interval: tuple[float, float]) -> float:
    """What is ruled out lies above this: the farther end of the interval, or 3/C."""
    if difference.standard_error == 0:
        return max(abs(difference.mean), 3 / _independent(difference))
    return max(abs(interval[0]), abs(interval[1]))


def _independent(difference: Estimate) -> float:
    """C: clusters, or items where they are independent."""
    return max(1.0, difference.df + 1)
