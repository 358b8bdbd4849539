"""The rule of the paper: at each meta step a step of the logits along the scores measured now.

With s_k = dJ/dp_k = -eta <v, grad L_k> the gradient of J (ADAPT, arXiv 2512.04555) is

    dJ/da_i = p_i (s_i - sum_j p_j s_j) + lambda p_i (log p_i + H(p)).

The sign: more of a task whose gradient agrees with v lowers J, so its s is negative; the step is
against the gradient, so its logit rises by -s.

We take that step in the natural geometry of the simplex (mirror descent), which divides by p_i,
so that a task of small share can come back as fast as it left:

    a_i <- a_i - step (s_i - sum_j p_j s_j) - step lambda a_i

where the entropy term log p_i + H(p) is, up to a constant that softmax ignores, a_i. In the place
of -(s_i - sum_j p_j s_j) stands z_i, its standardised form (ours; see `standardise.py`), so that
eta, the scale of the gradients and the size of the model cancel:

    a_i <- a_i + step z_i - step lambda a_i

for the tasks that were measured just now and no others: a score means something beside others along
the same v only, and applied again at each meta step until the next one it would be believed many
times over. A z that stays the same settles at a log ratio of z / lambda to the initial mixture.
K tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adapt_axolotl.mixture.measurement import Measurement
from adapt_axolotl.mixture.standardise import RunningScale, kept_share

# The defaults of a recipe's adapt.learned.
STEP_SIZE = 0.2
ENTROPY_WEIGHT = 0.1

# Largest |z|.
SCORE_CLIP = 3.0

# Of the running mean square of the scores.
RMS_DECAY = 0.9


def check_step(step_size: float, entropy_weight: float) -> None:
    """
    Raises:
        ValueError: with these the logits would not settle.
    """
    if not (step_size > 0 and entropy_weight >= 0):
        raise ValueError(
            f"step_size {step_size} must be above 0, and entropy_weight {entropy_weight} 0 or more"
        )
    if step_size * entropy_weight > 1:
        raise ValueError(
            "step_size times entropy_weight is over 1, which overshoots the initial mixture at "
            "each step; lower one of them"
        )


class GradientSteps:
    """See the module docstring.

    Args:
        step_size: of the logits.
        entropy_weight: lambda, the pull towards the initial mixture.
    """

    name = "steps"

    def __init__(
        self, *, step_size: float = STEP_SIZE, entropy_weight: float = ENTROPY_WEIGHT
    ) -> None:
        check_step(step_size, entropy_weight)
        self._step_size = step_size
        self._entropy_weight = entropy_weight
        self._scale = RunningScale(RMS_DECAY)

    def moved(
        self, logits: np.ndarray, measurement: Measurement, overdispersion: float
    ) -> np.ndarray:
        """The new logits, (K,).

        Args:
            logits: (K,) a.
            measurement: of now.
            overdispersion: how much larger the squares of its errors are than it says: the draw of
                rows, which gives them, is not all of their noise.
        """
        fresh = measurement.measured
        scores, errors = measurement.advantages[fresh], measurement.errors[fresh]
        self._scale.add(scores)
        if not self._scale.root > 0:
            return logits
        kept = kept_share(scores, errors * np.sqrt(overdispersion))
        z = np.clip(kept * scores / self._scale.root, -SCORE_CLIP, SCORE_CLIP)
        new = logits.copy()
        new[fresh] += self._step_size * (z - self._entropy_weight * logits[fresh])
        centred: np.ndarray = new - new.mean()
        return centred

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        return {
            "adapt.learned.step_size": self._step_size,
            "adapt.learned.entropy_weight": self._entropy_weight,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"mean_square": self._scale.mean_square, "updates": self._scale.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scale.mean_square = state["mean_square"]
        self._scale.updates = state["updates"]
