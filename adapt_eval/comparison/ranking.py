"""Ranks of several arms, with what is not known about them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from adapt_eval.comparison.schema import Rank, SuiteComparison
from adapt_eval.statistics.multiplicity import holm


def ranking(
    scores: Mapping[str, float], pairs: Mapping[tuple[str, str], SuiteComparison]
) -> list[Rank]:
    """An arm's best rank is one more than the number of arms that are better than it, its worst one
    that of all arms less those that are worse; better and worse at 5 % after Holm over all pairs,
    so all ranks together are right in 95 % (Mogstad, Romano, Shaikh and Wilhelm 2024, Rev. Econ.
    Stud. 91:476).

    Args:
        scores: arm -> its mean score.
        pairs: (arm, other) -> the difference of the two on the suite; empty gives no ranks.
    """
    if not pairs:
        return []
    p_values = holm([1.0 if math.isnan(one.p_value) else one.p_value for one in pairs.values()])
    above = dict.fromkeys(scores, 0)
    below = dict.fromkeys(scores, 0)
    for ((one, other), suite), p_value in zip(pairs.items(), p_values, strict=True):
        if p_value >= 0.05 or suite.too_few or suite.says_nothing or suite.on_guesses:
            continue
        winner, loser = (one, other) if suite.difference > 0 else (other, one)
        above[loser] += 1
        below[winner] += 1
    ranks = [
        Rank(run=run, score=score, best=1 + above[run], worst=len(scores) - below[run])
        for run, score in scores.items()
    ]
    return sorted(ranks, key=lambda rank: -rank.score)
