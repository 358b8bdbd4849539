"""All estimators. A new one is a file of its own and a place in this list."""

from __future__ import annotations

from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES

ESTIMATORS: tuple[Estimator, ...] = (IN_BACKWARD, SPLIT_BATCHES, FINITE_DIFFERENCE, PER_TASK)
"""Cheapest first; where one does not fit a model, those after it are tried. The last one, the
reference, always fits."""


def estimator(name: str) -> Estimator:
    """The estimator of that name."""
    return {one.name: one for one in ESTIMATORS}[name]
