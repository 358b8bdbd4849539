"""From numbers to one of seven words."""

from __future__ import annotations

import math

BETTER, WORSE, UNDERPOWERED, AT_CHANCE = "better", "worse", "underpowered", "at chance"
ON_GUESSES, EQUIVALENT, UNDECIDED = "rests on guesses", "equivalent", "undecided"
# Independent items (clusters) below which no error can be trusted: five won of five would be
# "better", with an interval of four points to all.
LEAST_ITEMS = 10


def verdict(
    difference: float,
    p_value: float,
    p_equivalence: float,
    detectable: float,
    smallest_effect: float,
    *,
    too_few: bool = False,
    at_chance: bool = False,
    on_guesses: bool = False,
    alpha: float = 0.05,
) -> str:
    """
    Args:
        difference: score of the run less that of the baseline.
        p_value, p_equivalence: that there is a difference, and that it is smaller than the smallest
            that matters; both corrected for the number of comparisons.
        detectable: minimum detectable effect with the same correction.
        smallest_effect: the smallest difference that would matter. A comparison that cannot find
            that much is underpowered: finding nothing is no evidence.
        too_few: there are fewer items than any verdict needs.
        at_chance: both score no better than guessing. Guesses differ too, by which answer a model
            happens to prefer, and significantly so; that makes neither better.
        on_guesses: a mean of benchmarks that differs only by those at chance.
    """
    if too_few:
        return UNDERPOWERED
    if at_chance:
        return AT_CHANCE
    if not math.isnan(p_value) and p_value < alpha and difference != 0:
        if on_guesses:
            return ON_GUESSES
        return BETTER if difference > 0 else WORSE
    if not math.isnan(p_equivalence) and p_equivalence < alpha:
        return f"{EQUIVALENT} (effects above {100 * smallest_effect:.1f} points ruled out)"
    if math.isnan(detectable) or detectable > smallest_effect:
        return UNDERPOWERED
    return UNDECIDED
