"""Two one-sided tests: whether a difference is smaller than what would matter.

Not finding a difference is no evidence that there is none. Equivalence within a margin m is shown
if both "the difference is m or more" and "it is -m or less" are rejected; the p-value is the larger
of the two (Schuirmann 1987, J. Pharmacokin. Biopharm. 15:657).
"""

from __future__ import annotations

import math

from scipy.special import ndtr, stdtr

from adapt_eval.statistics.paired import Estimate


def of_mean(difference: Estimate, error: float, margin: float) -> float:
    """p-value for a mean difference, by the distribution of its estimate.

    Args:
        error: the standard error, or what is larger because `power.planning_error` stands in it for
            benchmarks on which no item differs.
        margin: above 0, in the units of the difference.
    """
    if math.isnan(error) or difference.df < 1:
        return math.nan
    reach = margin - abs(difference.mean)
    if error > difference.standard_error:
        return float(stdtr(difference.df, -reach / error))
    return difference.tail(reach)


def by_score(wins: int, losses: int, items: int, margin: float) -> float:
    """p-value where each item is right or wrong: Tango's score test (1998, Stat. Med. 17:891).

    Student's test takes its error from the items that differ and is far too sure where few do: with
    1 of 200, at a margin of 3 points, p = 3e-7, where a true difference of 3 points gives as few
    with a probability of 0.016; this test says 0.019.

    Args:
        wins: items that only the first got right; `losses` those that only the second did.
        items: all of them.
        margin: between 0 and 1.
    """
    return max(_below(wins, losses, items, margin), _below(losses, wins, items, margin))


def _below(wins: int, losses: int, items: int, margin: float) -> float:
    """p-value of "the difference is the margin or more": q is the most likely share of losses if
    the difference is exactly the margin."""
    two_a = 4 * items
    b = -wins - losses + (2 * items - wins + losses) * margin
    c = -losses * margin * (1 - margin)
    q = (math.sqrt(max(0.0, b * b - 2 * two_a * c)) - b) / two_a
    variance = items * (2 * q + margin * (1 - margin))
    return float(ndtr((wins - losses - items * margin) / math.sqrt(variance)))
