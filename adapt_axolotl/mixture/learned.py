"""The learned mixture: logits over tasks, moved by standardised task scores.

ADAPT (arXiv 2512.04555) minimises J(a) = worst case of V(theta'(p)) - lambda H(p), p = softmax(a).
With s_k = dJ/dp_k = -eta <v, grad L_k> the gradient is

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

A z that stays the same settles at a log ratio of z / lambda to the uniform mixture. K tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives import Objective
from adapt_axolotl.mixture.simplex import entropy, softmax, with_floor
from adapt_axolotl.mixture.standardise import (
    RunningScale,
    centred,
    kept_share,
    loss_shares,
    tokens_of_a_share,
)

# Nats a token. A task below it at the start has nothing left to learn; over a smaller first loss,
# its least rise would look like the worst case and v would point at nothing else (ours).
LEAST_FIRST_LOSS = 0.01

# The square of anything larger is infinite, and so is what comes of it.
LARGEST = 1e150

# The defaults of a recipe's adapt.learned and adapt.floor.
STEP_SIZE = 0.2
ENTROPY_WEIGHT = 0.1
FLOOR = 0.1

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


@dataclass(frozen=True)
class MetaUpdate:
    """What one meta step did. Arrays are (K,); NaN where a task was not measured.

    Attributes:
        proportions: after the update.
        logits: after the update, of mean 0.
        scores: s_k / eta = -<v, grad L_k> as last measured: negative helps.
        standardised: z of this update; 0 for tasks never measured, and for all where nothing moved.
        ages: updates since the score was measured, 0 for now.
        validation_losses: V as last measured.
        objective: the smooth worst case of the utilities.
        entropy: of the new proportions, in nats.
    """

    proportions: np.ndarray
    logits: np.ndarray
    scores: np.ndarray
    standardised: np.ndarray
    ages: np.ndarray
    validation_losses: np.ndarray
    objective: float
    entropy: float


class LearnedMixture:
    """Proportions that learn: `observe`, then `update`, once a meta step.

    Args:
        tasks: the K names.
        objective: what the validation losses are folded into.
        step_size: of the logits.
        entropy_weight: lambda, the pull towards the uniform mixture.
        floor: least share of a task, in units of 1/K.
        row_tokens: (K,) mean supervised tokens of a row of each task, where proportions count rows;
            None where they count supervised tokens.

    Raises:
        ValueError: a setting with which no mixture could be learned.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        objective: Objective,
        *,
        step_size: float = STEP_SIZE,
        entropy_weight: float = ENTROPY_WEIGHT,
        floor: float = FLOOR,
        row_tokens: np.ndarray | None = None,
    ) -> None:
        check_step(step_size, entropy_weight)
        count = len(tasks)
        self.tasks = tuple(tasks)
        self.objective = objective
        self.skipped = np.zeros(count, dtype=np.int64)
        self._step_size = step_size
        self._entropy_weight = entropy_weight
        self._floor = floor / count
        self._row_tokens = row_tokens
        self._logits = np.zeros(count)
        with_floor(softmax(self._logits), self._floor)  # Refuses a floor that does not fit.
        self._first_losses = np.full(count, np.nan)
        self._smoothed = np.full(count, np.nan)
        self._losses = np.full(count, np.nan)
        self._usefulness = np.full(count, np.nan)
        self._errors = np.full(count, np.nan)
        self._ages = np.zeros(count, dtype=np.int64)
        self._scale = RunningScale(RMS_DECAY)

    @property
    def proportions(self) -> np.ndarray:
        """(K,) p = softmax(logits), mixed with the floor."""
        return with_floor(softmax(self._logits), self._floor)

    @property
    def weights(self) -> np.ndarray:
        """(K,) w, the weight of grad V_k in v by the losses observed so far: 0 for tasks whose
        last loss was not usable, alike before there is any."""
        if np.isnan(self._smoothed).all():
            return np.full(len(self.tasks), 1 / len(self.tasks))
        weights = np.zeros(len(self.tasks))
        usable = np.isfinite(self._losses)
        if usable.any():
            part = self.objective.over(usable)
            weights[usable] = part.derivative(self._smoothed[usable], self._first_losses[usable])
        return weights

    def observe(self, losses: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Take in validation losses; gives `weights` as they are then.

        Args:
            losses: (K,) V; a task that is not finite is left out, of the updates too until it is
                measured again, and counted in `skipped`.
            measured: (K,) bool, which of them are news; all by default.
        """
        measured = np.ones(len(losses), dtype=bool) if measured is None else measured
        usable = measured & (np.abs(losses) < LARGEST)
        self.skipped = self.skipped + (measured & ~usable)
        self._losses = np.where(measured, np.where(usable, losses, np.nan), self._losses)
        first = usable & np.isnan(self._first_losses)
        self._first_losses = np.where(
            first, np.maximum(self._losses, LEAST_FIRST_LOSS), self._first_losses
        )
        keep = np.where(np.isnan(self._smoothed), 0.0, self.objective.smoothing)
        blended = keep * np.nan_to_num(self._smoothed) + (1 - keep) * self._losses
        self._smoothed = np.where(usable, blended, self._smoothed)
        return self.weights

    def update(
        self, inner_products: np.ndarray, standard_errors: np.ndarray, *, step: int
    ) -> MetaUpdate:
        """Move the logits. Nothing moves unless two tasks or more were measured: a score is worth
        something only beside another one.

        Args:
            inner_products: (K,) <v, grad L_k>: positive means that training on the task lowers
                the objective. NaN keeps the task's last score, one update older. A task without a
                usable loss had no part in v, so what v says of it is not believed: it keeps its
                last score and its logit.
            standard_errors: (K,) of the inner products; NaN (one row only) takes the mean shrinkage
                of the other tasks; with an infinite one the task counts as not measured.
            step: for error messages only; the mixture keeps no clock.
        """
        usable = np.isfinite(self._losses)
        assert usable.any() or self.skipped.any(), "update before the first observe"
        fresh = usable & (np.abs(inner_products) < LARGEST) & ~(standard_errors >= LARGEST)
        self._usefulness = np.where(fresh, inner_products, self._usefulness)
        self._errors = np.where(fresh, standard_errors, self._errors)
        self._ages = np.where(fresh, 0, self._ages + 1)
        z = np.zeros(len(self.tasks))
        if fresh.sum() >= 2:
            z = self._standardised(usable)
            pull = self._entropy_weight * self._logits
            logits = self._logits + self._step_size * np.where(usable, z - pull, 0.0)
            self._logits = logits - logits.mean()
        assert np.isfinite(self._logits).all(), f"logits left the real line at step {step}"
        return MetaUpdate(
            proportions=self.proportions,
            logits=self._logits.copy(),
            scores=-self._usefulness,
            standardised=z,
            ages=self._ages.copy(),
            validation_losses=self._losses.copy(),
            objective=self._objective_value(),
            entropy=entropy(self.proportions),
        )

    def _standardised(self, usable: np.ndarray) -> np.ndarray:
        """z, (K,), from the last scores of usable tasks; 0 for the others and those never
        measured."""
        known = usable & np.isfinite(self._usefulness)
        per_share = tokens_of_a_share(self.proportions, self._row_tokens)
        shares = loss_shares(self.proportions, self._row_tokens)
        scores = per_share * centred(self._usefulness, shares, known)
        self._scale.add(scores[known])
        z = np.zeros(len(scores))
        if self._scale.root > 0:
            kept = kept_share(scores[known], (per_share * self._errors)[known])
            z[known] = np.clip(kept * scores[known] / self._scale.root, -SCORE_CLIP, SCORE_CLIP)
        return z

    def _objective_value(self) -> float:
        known = np.isfinite(self._smoothed)
        if not known.any():
            return float("nan")
        part = self.objective.over(known)
        return part.value(part.utilities(self._smoothed[known], self._first_losses[known]))

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        objective = self.objective
        references = objective.reference_losses
        return {
            "adapt.learned.objective": objective.name,
            "adapt.learned.beta": objective.beta,
            "adapt.learned.reference_losses": None if references is None else references.tolist(),
            "adapt.learned.step_size": self._step_size,
            "adapt.learned.entropy_weight": self._entropy_weight,
            "adapt.floor": self._floor * len(self.tasks),
        }

    _ARRAYS = ("_logits", "_first_losses", "_smoothed", "_losses", "_usefulness", "_errors")

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        state: dict[str, Any] = {"tasks": list(self.tasks)}
        for name in self._ARRAYS:
            values = getattr(self, name).tolist()
            state[name.strip("_")] = [value if np.isfinite(value) else None for value in values]
        return {
            **state,
            "ages": self._ages.tolist(),
            "skipped": self.skipped.tolist(),
            "mean_square": self._scale.mean_square,
            "updates": self._scale.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of other tasks.
        """
        if list(self.tasks) != state["tasks"]:
            gone = [task for task in state["tasks"] if task not in self.tasks]
            new = [task for task in self.tasks if task not in state["tasks"]]
            raise ValueError(
                "the checkpoint's mixture is over other tasks than this recipe's datasets: "
                f"only in the checkpoint: {', '.join(gone) or 'none'}; "
                f"only in the recipe: {', '.join(new) or 'none'}"
                + ("" if gone or new else "; the same names in another order")
                + "; restore the recipe's datasets, or start in a new output_dir"
            )
        for name in self._ARRAYS:
            values = state[name.strip("_")]
            setattr(self, name, np.array([np.nan if v is None else v for v in values]))
        self._ages = np.array(state["ages"], dtype=np.int64)
        self.skipped = np.array(state["skipped"], dtype=np.int64)
        self._scale.mean_square = state["mean_square"]
        self._scale.updates = state["updates"]
