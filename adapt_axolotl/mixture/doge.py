"""The rule of DoGE: exponentiated gradient on gradient products as they are. K tasks.

Fan, Pagliardini and Jaggi (ICML 2024, arXiv 2310.15393), algorithm 1. What a task does for all of
them is W_i = <grad L_i, sum_j grad V_j>, and the mixture is the one of largest eta <p, W> less mu
times its divergence (entropy as the mirror map) from the mixture before:

    p_i <- p_i exp(eta W_i / mu) / sum_j p_j exp(eta W_j / mu)

with eta the learning rate in force. Where targets are named, the sum is over these, by their
weights if they have any: the paper's out-of-domain case. The objective `mean` makes
v = (1 / J) sum_j grad V_j over the J tasks that count, so W_i = J <v, grad L_i>.

Beside `gradient_steps.py`, which has the same step: no product is standardised or shrunk by its
noise, and nothing pulls back to the initial mixture.

What differs: the paper moves at each optimizer step; here a meta step moves, for all steps up to
the next one, by products of more rows. With turns, a meta step has the sum over the tasks whose
turn it is, and moves the shares of those that were measured among themselves. The paper then trains
the model itself on the average, which `mixture: replay` draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapt_axolotl.mixture.by_losses import LEAST_LOG
from adapt_axolotl.mixture.measurement import Measurement

# The paper's weight of the divergence.
MU = 0.05


class GeneralisationSteps:
    """See the module docstring.

    Args:
        counted: J.
        learning_rate: gives eta, summed over the optimizer steps that a move stands for.
        mu: weight of the divergence.
    """

    name = "doge"

    def __init__(self, counted: int, learning_rate: Callable[[], float], *, mu: float = MU) -> None:
        self._counted = counted
        self._learning_rate = learning_rate
        self._mu = mu

    def moved(
        self, logits: np.ndarray, measurement: Measurement, overdispersion: float
    ) -> np.ndarray:
        """The new logits, (K,). As `GradientSteps.moved`; noise is not asked for."""
        # Advantages are products less their mean under p, which softmax ignores where all tasks are
        # measured; else it is why those measured keep what they have together, to first order.
        advantages = np.where(measurement.measured, measurement.advantages, 0.0)
        new = logits + self._learning_rate() / self._mu * self._counted * advantages
        # A share that is 0 in floats would be one of a task that is left out.
        floored = np.maximum(new, new.max() + LEAST_LOG)
        centred: np.ndarray = floored - floored.mean()
        return centred

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        return {"adapt.learned.mu": self._mu}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
