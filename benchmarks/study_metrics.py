"""The two scores of a test row in the study, both better the higher, as `adapt-eval compare` wants
them.

`exact_match`: 1 where a greedy answer is right. `loss`: 1 - loss / log V, where V is the
vocabulary: 0 is guessing, 1 is certainty, and a difference is one of losses over -log V.
"""

from __future__ import annotations

import math
from collections.abc import Callable

VOCABULARY = 2048
# Nats that a loss score of 1 is better than one of 0.
NATS = math.log(VOCABULARY)

METRICS = {
    "exact_match": "share of test rows whose greedy answer is right",
    "loss": "1 - test loss per supervised token / log of the vocabulary",
}
# The smallest difference that would matter: one row in a hundred; 0.03 nats.
SMALLEST = {"exact_match": 0.01, "loss": 0.03 / NATS}

# From a difference of scores to one that people read.
READ: dict[str, Callable[[float], float]] = {
    "exact_match": lambda difference: difference,
    "loss": lambda difference: -NATS * difference,
}


def suite_name(metric: str) -> str:
    """Of results on disk."""
    return f"study_{metric}"
