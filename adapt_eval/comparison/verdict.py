"""From numbers to one of six words."""

from __future__ import annotations

import math

BETTER, WORSE, UNDERPOWERED, AT_CHANCE = "better", "worse", "underpowered", "at chance"
ON_GUESSES = "rests on guesses"
NO_DIFFERENCE = "no detectable difference"


def verdict(
    difference: float,
    p_value: float,
    detectable: float,
    ruled_out: float,
    smallest_effect: float,
    at_chance: bool = False,
    on_guesses: bool = False,
    alpha: float = 0.05,
) -> str:
    """
    Args:
        difference: score of the run less that of the baseline.
        p_value: corrected for the number of comparisons.
        detectable: minimum detectable effect.
        ruled_out: effects above this are.
        smallest_effect: the smallest difference that would matter. A comparison that cannot find
            that much is underpowered: finding nothing is no evidence.
        at_chance: both score no better than guessing. Guesses differ too, by which answer a model
            happens to prefer, and significantly so; that makes neither better.
        on_guesses: a mean of benchmarks that differs only by those at chance.
    """
    if at_chance:
        return AT_CHANCE
    if not math.isnan(p_value) and p_value < alpha and difference != 0:
        if on_guesses:
            return ON_GUESSES
        return BETTER if difference > 0 else WORSE
    if math.isnan(detectable) or detectable > smallest_effect:
        return UNDERPOWERED
    return f"{NO_DIFFERENCE} (effects above {100 * ruled_out:.1f} points ruled out)"
