"""One benchmark, two arms: the difference, how sure it is, and what could have been found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt_eval.comparison.pairing import Pairs
from adapt_eval.statistics import mcnemar
from adapt_eval.statistics.paired import Estimate, estimate
from adapt_eval.statistics.power import largest_effect, minimum_detectable_effect
from adapt_eval.statistics.resampling import bootstrap_interval, sign_flip_p_value

_BELOW_CHANCE = "both at or below chance: says nothing about which is better"


@dataclass(frozen=True)
class Comparison:
    """The difference of two arms on a benchmark, a family or the suite.

    Attributes:
        difference: mean of a - b, with its standard error.
        interval: at 95 %, not corrected for the number of comparisons.
        p_value: two-sided, not corrected; `test` says of what.
        detectable: minimum detectable effect.
        ruled_out: effects larger than this are, at 95 %.
        more: whatever else the output carries.
    """

    a: float
    b: float
    difference: Estimate
    interval: tuple[float, float]
    p_value: float
    test: str
    detectable: float
    ruled_out: float
    more: dict[str, Any]


def guess(benchmark: Mapping[str, Any]) -> float:
    """The score that has to be beaten to show anything: the larger of chance and floor."""
    return max(float(benchmark["chance"]), float(benchmark["floor"] or 0))


def compare_pairs(pairs: Pairs, guessing: float, margin: float = 0.03) -> Comparison:
    """Compare two arms item by item.

    Clustered items: Student's test on the clustered error. Others: McNemar's mid-p if both arms
    scored each item right or wrong; sign flips and the bootstrap for scores between.

    Args:
        guessing: score of guessing; both arms near it say nothing.
        margin: how far above guessing is near.
    """
    d = pairs.a - pairs.b
    difference = estimate(d, pairs.clusters)
    interval, p_value, test = difference.interval(), difference.p_value, "clustered t"
    more: dict[str, Any] = {
        "wins": int(np.sum(d > 0)),
        "ties": int(np.sum(d == 0)),
        "losses": int(np.sum(d < 0)),
        "clusters": None if pairs.clusters is None else len(np.unique(pairs.clusters)),
        "unmatched": list(pairs.unmatched),
    }
    if pairs.clusters is None and len(d) > 1:
        if _binary(pairs.a) and _binary(pairs.b):
            p_value, test = mcnemar.mid_p(more["wins"], more["losses"]), "McNemar mid-p"
            more["p_exact"] = mcnemar.exact(more["wins"], more["losses"])
        else:
            p_value, test = sign_flip_p_value(d), "sign flips"
            interval = bootstrap_interval(d)
    sides = (("a", pairs.a), ("b", pairs.b))
    near = {side: _near(scores, pairs, guessing, margin) for side, scores in sides}
    more["at_chance"] = near
    more["says_nothing"] = all(near.values())
    more["note"] = _BELOW_CHANCE if more["says_nothing"] else ""
    return Comparison(
        float(pairs.a.mean()),
        float(pairs.b.mean()),
        difference,
        interval,
        p_value,
        test,
        minimum_detectable_effect(difference),
        largest_effect(difference, interval),
        more,
    )


def _binary(scores: NDArray[np.float64]) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))


def _near(scores: NDArray[np.float64], pairs: Pairs, guessing: float, margin: float) -> bool:
    """Whether the mean score is hardly above guessing and its interval reaches down to it: the
    interval of a few items alone reaches far, whatever the score."""
    own = estimate(scores, pairs.clusters)
    return bool(own.interval()[0] <= guessing and own.mean <= guessing + margin)
