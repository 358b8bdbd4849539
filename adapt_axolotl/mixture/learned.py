"""The learned mixture: logits over tasks, moved by standardised task scores.

ADAPT (arXiv 2512.04555) minimises J(a) = worst case of V(theta'(p)) - lambda H(p), p = softmax(a).
With s_k = dJ/dp_k = -eta <v, grad L_k> the gradient is

    dJ/da_i = p_i (s_i - sum_j p_j s_j) + lambda p_i (log p_i + H(p)).

We step against it in the natural geometry of the simplex (mirror descent), which divides by p_i,
so that a task of small share can come back as fast as it left:

    a_i <- a_i - step (s_i - sum_j p_j s_j) - step lambda (a_i - prior_i)

where the entropy term log p_i + H(p) is, up to a constant that softmax ignores, a_i; `prior` is the
logits of the first proportions, uniform for the paper's entropy. The scores are standardised
first (ours), so that eta, the scale of the gradients and the size of the model cancel:

    h = -s centred under p;   z = h / (running root mean square of h) * h^2 / (h^2 + se^2), clipped,

se the standard error of the score: a score that is all noise moves little.

A z that stays the same settles at a log ratio of z / lambda. K tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives import Objective
from adapt_axolotl.mixture.simplex import entropy, softmax, with_floor


@dataclass(frozen=True)
class MetaUpdate:
    """What one meta step did. Arrays are (K,); NaN where a task was not measured.

    Attributes:
        proportions: after the update.
        logits: after the update.
        scores: s_k / eta = -<v, grad L_k> as last measured: negative helps.
        standardised: z of this update; 0 for tasks never measured.
        ages: updates since the score was measured, 0 for now.
        validation_losses: V of this meta step.
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
    """Proportions that learn.

    Args:
        tasks: the K names.
        objective: what the validation losses are folded into.
        step_size: of the logits.
        entropy_weight: lambda, the pull towards the first proportions.
        floor: least share of a task, in units of 1/K.
        score_clip: largest |z|.
        rms_decay: of the running mean square of the scores.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        objective: Objective,
        *,
        step_size: float = 0.2,
        entropy_weight: float = 0.1,
        floor: float = 0.1,
        score_clip: float = 3.0,
        rms_decay: float = 0.9,
    ) -> None:
        self.tasks = tuple(tasks)
        self.objective = objective
        self._step_size = step_size
        self._entropy_weight = entropy_weight
        self._floor = floor / len(self.tasks)
        self._clip = score_clip
        self._decay = rms_decay
        count = len(self.tasks)
        self._logits = np.zeros(count)
        self._first_losses = np.full(count, np.nan)
        self._smoothed = np.full(count, np.nan)
        self._losses = np.full(count, np.nan)
        self._usefulness = np.full(count, np.nan)
        self._errors = np.full(count, np.nan)
        self._ages = np.zeros(count, dtype=np.int64)
        self._mean_square = 0.0
        self._updates = 0
        self.skipped = np.zeros(count, dtype=np.int64)

    @property
    def proportions(self) -> np.ndarray:
        """(K,) p = softmax(logits), mixed with the floor."""
        return with_floor(softmax(self._logits), self._floor)

    def observe(self, losses: np.ndarray) -> np.ndarray:
        """Take in validation losses; gives the weights of v.

        Args:
            losses: (K,) V; a task that is not finite is left out and counted in `skipped`.

        Returns:
            (K,) the weight of grad V_k in v, 0 for tasks left out.
        """
        usable = np.isfinite(losses)
        self.skipped += ~usable
        self._losses = losses.astype(np.float64)
        # A first loss of 0 has nothing left to lose; keep the division finite.
        fresh = usable & np.isnan(self._first_losses)
        self._first_losses[fresh] = np.maximum(losses[fresh], 1e-8)
        keep = np.where(np.isnan(self._smoothed), 0.0, self.objective.smoothing)
        blended = keep * np.nan_to_num(self._smoothed) + (1 - keep) * losses
        self._smoothed = np.where(usable, blended, self._smoothed)
        weights = np.zeros(len(self.tasks))
        if usable.any():
            part = self._part(usable)
            weights[usable] = part.gradient(self._smoothed[usable], self._first_losses[usable])
        return weights

    def update(
        self, inner_products: np.ndarray, standard_errors: np.ndarray, *, step: int
    ) -> MetaUpdate:
        """Move the logits.

        Args:
            inner_products: (K,) <v, grad L_k>: positive means that training on the task lowers
                the objective. NaN keeps the task's last score, one update older.
            standard_errors: (K,) of the inner products; NaN (one row only) takes the mean shrinkage
                of the other tasks.
            step: for error messages only; the mixture keeps no clock.
        """
        # A task without a usable loss had no part in v, so what v says of it is not believed.
        usable = np.isfinite(self._losses)
        measured = np.isfinite(inner_products) & usable
        self._usefulness = np.where(measured, inner_products, self._usefulness)
        self._errors = np.where(measured, standard_errors, self._errors)
        self._ages = np.where(measured, 0, self._ages + 1)
        known = np.isfinite(self._usefulness) & usable
        z = np.zeros(len(self.tasks))
        if measured.any():
            z[known] = self._standardise(known)
            pull = self._entropy_weight * (self._logits - self._logits.mean())
            self._logits = self._logits + self._step_size * np.where(usable, z - pull, 0.0)
            self._logits -= self._logits.mean()
            self._updates += 1
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

    def _standardise(self, known: np.ndarray) -> np.ndarray:
        """z of the known tasks, from their last scores."""
        shares = self.proportions[known]
        useful = self._usefulness[known]
        centred = useful - (shares * useful).sum() / shares.sum()
        errors = self._errors[known]
        square = centred**2
        with np.errstate(invalid="ignore", divide="ignore"):
            kept = np.where(square + errors**2 > 0, square / (square + errors**2), 1.0)
        measured = np.isfinite(errors)
        kept = np.where(measured, kept, kept[measured].mean() if measured.any() else 1.0)
        # Over the size of the scores before they were shrunk: over their size after it, pure noise
        # would be blown up to full steps again.
        self._mean_square = self._decay * self._mean_square + (1 - self._decay) * float(
            (centred**2).mean()
        )
        # As Adam's: without it the first scores would look larger than they are.
        corrected = self._mean_square / (1 - self._decay ** (self._updates + 1))
        if corrected == 0:
            return np.zeros_like(centred)
        return np.clip(kept * centred / np.sqrt(corrected), -self._clip, self._clip)

    def _objective_value(self) -> float:
        known = np.isfinite(self._smoothed)
        if not known.any():
            return float("nan")
        part = self._part(known)
        return part.value(part.utilities(self._smoothed[known], self._first_losses[known]))

    def _part(self, tasks: np.ndarray) -> Objective:
        """The objective over some of the tasks."""
        references = self.objective.reference_losses
        if references is None:
            return self.objective
        return replace(self.objective, reference_losses=references[tasks])

    _ARRAYS = ("_logits", "_first_losses", "_smoothed", "_losses", "_usefulness", "_errors")
    _COUNTS = ("_ages", "skipped")

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        state: dict[str, Any] = {"tasks": list(self.tasks)}
        for name in self._ARRAYS:
            values = getattr(self, name).tolist()
            state[name.strip("_")] = [value if np.isfinite(value) else None for value in values]
        for name in self._COUNTS:
            state[name.strip("_")] = getattr(self, name).tolist()
        return {**state, "mean_square": self._mean_square, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of other tasks.
        """
        if list(self.tasks) != state["tasks"]:
            raise ValueError(
                f"the checkpoint's mixture is over the tasks {state['tasks']}, this recipe's over "
                f"{list(self.tasks)}; restore the recipe's datasets, or start in a new output_dir"
            )
        for name in self._ARRAYS:
            values = state[name.strip("_")]
            setattr(self, name, np.array([np.nan if v is None else v for v in values]))
        for name in self._COUNTS:
            setattr(self, name, np.array(state[name.strip("_")], dtype=np.int64))
        self._mean_square = state["mean_square"]
        self._updates = state["updates"]
