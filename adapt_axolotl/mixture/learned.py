"""The learned mixture: proportions that follow what training on the tasks is worth. K tasks.

ADAPT (arXiv 2512.04555) minimises J(p) = worst case of V(theta'(p)) - lambda H(p), p = softmax(a).
What a share of a task is worth is measured as `measurement.py` tells, by gradient products or by
how the losses fall, and moves the logits by one of three rules:

    steps      the paper's: a step of the logits at each meta step (`gradient_steps.py`)
    doge       that of DoGE: the same with gradient products as they are (`doge.py`)
    evidence   (ours) what was measured is pooled and shrunk by its noise (`evidence.py`), and the
               logits are set from what is left:

                   a_k = log(1 + believed_k) / (1 + lambda)

               with 1 + believed_k what a share of task k is worth at the initial mixture, as a
               multiple of the mean. If the loss of a task falls as the logarithm of its own
               tokens, J with its entropy term is least there, to first order in a:
               w_k f_k / p_k = lambda log(p_k / p0_k) + constant. lambda = 0 makes all tokens
               worth the same, a large one stays at p0. Falls, which are fitted anew each time,
               move the logits half of the way there. Gradient products, which are measured at
               p, are taken to p0 by p_k / p0_k; where they do not change with p, the logits
               settle at log(worth) / lambda.

The logits are over an initial mixture p0, p = softmax(log p0 + a), and the entropy term is the
divergence from p0: for a uniform p0 the entropy but for a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adapt_axolotl.mixture.bounds import Bounds
from adapt_axolotl.mixture.doge import GeneralisationSteps
from adapt_axolotl.mixture.evidence import Evidence, Posterior, nothing, shrunk
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.measurement import Measurement, of_falls, of_products
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.nan_as_null import as_array, as_list
from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.observed import LARGEST, ObservedLosses
from adapt_axolotl.mixture.simplex import entropy, softmax, with_floor
from adapt_axolotl.mixture.standardise import loss_shares

# The default of a recipe's adapt.floor.
FLOOR = 0.1

# Of the rule `evidence`: lambda, the weight of older measurements at each new one, and the least
# worth that a task is believed to have, because its logarithm is taken.
ENTROPY_WEIGHT = 1.0
EVIDENCE_DECAY = 0.9
LEAST_WORTH = 0.05

# Share of the old logits in the new ones, where falls are set anew at each meta step: most rows of
# one fit are in the next, and what only one of them shows should not carry the mixture away.
KEPT_LOGITS = 0.5


class LearnedMixture:
    """Proportions that learn: `observe`, then an update, once a meta step.

    Args:
        tasks: the K names.
        objective: what the validation losses are folded into.
        bounds: on the losses of tasks that the objective is not over; None for none.
        steps: the rule of the paper, or that of DoGE; None for the rule `evidence`.
        entropy_weight: lambda of the rule `evidence`.
        floor: least share of a task, as a part of its initial share.
        row_tokens: (K,) mean supervised tokens of a row of each task, where proportions count rows;
            None where they count supervised tokens.
        initial: (K,) p0; uniform by default. A task of share 0 is a target that is not trained on:
            it stays there.
        fixed: (K,) bool, tasks whose share stays its initial one; none by default.

    Attributes:
        losses: the validation losses so far.
        trained: (K,) bool, the tasks that have a share.

    Raises:
        ValueError: a setting with which no mixture could be learned.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        objective: Objective,
        *,
        bounds: Bounds | None = None,
        steps: GradientSteps | GeneralisationSteps | None = None,
        entropy_weight: float = ENTROPY_WEIGHT,
        floor: float = FLOOR,
        row_tokens: np.ndarray | None = None,
        initial: np.ndarray | None = None,
        fixed: np.ndarray | None = None,
    ) -> None:
        count = len(tasks)
        if not entropy_weight > 0:
            raise ValueError(
                f"adapt.learned.entropy_weight: {entropy_weight:g} leaves nothing that holds the "
                "mixture; set it above 0, or choose rule: steps"
            )
        self.tasks = tuple(tasks)
        self.objective = objective
        self.losses = ObservedLosses(objective, count, bounds)
        self._steps = steps
        self._entropy_weight = entropy_weight
        self._floor = floor
        self._row_tokens = row_tokens
        self._initial = np.full(count, 1 / count) if initial is None else initial
        self.trained = self._initial > 0
        with np.errstate(divide="ignore"):
            self._log_initial = np.log(self._initial)
        self._fixed = np.zeros(count, dtype=bool) if fixed is None else fixed
        self._logits = np.zeros(count)
        with_floor(self._initial, self._initial, floor)  # Refuses a floor that is none.
        self._scores = np.full(count, np.nan)
        self._ages = np.zeros(count, dtype=np.int64)
        self._evidence = Evidence(count, EVIDENCE_DECAY)

    @property
    def proportions(self) -> np.ndarray:
        """(K,) p = softmax(log p0 + logits), mixed with the floor."""
        learned = softmax(self._log_initial + self._logits)
        shares = with_floor(learned, self._initial, self._floor)
        stays, bounds = self._fixed, self.losses.bounds
        if bounds is not None:
            stays = stays | bounds.unknown
        if not stays.any():
            return shares
        moving = float(shares[~stays].sum())
        if not moving:
            return self._initial
        rest = 1 - self._initial[stays].sum()
        return np.where(stays, self._initial, shares / moving * rest)

    @property
    def weights(self) -> np.ndarray:
        """(K,) w, as `ObservedLosses.weights`."""
        return self.losses.weights

    @property
    def token_shares(self) -> np.ndarray:
        """(K,) shares of the supervised tokens, whatever the proportions count."""
        return loss_shares(self.proportions, self._row_tokens)

    def observe(
        self,
        losses: np.ndarray,
        measured: np.ndarray | None = None,
        expected: np.ndarray | None = None,
    ) -> np.ndarray:
        """Take in validation losses; gives `weights` as they are then. For the arguments see
        `ObservedLosses.observe`; measured are all by default."""
        every = np.ones(len(losses), dtype=bool)
        self.losses.observe(losses, every if measured is None else measured, expected)
        return self.weights

    def update(
        self, inner_products: np.ndarray, standard_errors: np.ndarray, *, step: int
    ) -> MetaUpdate:
        """Move the logits by gradient products.

        Args:
            inner_products: (K,) <v, grad L_k>: positive means that training on the task lowers
                the objective. NaN keeps the task's last score, one update older, and its logit. So
                does a task without a usable loss: it had no part in v, so what v says of it is not
                believed.
            standard_errors: (K,) of the inner products; NaN where unknown; with an infinite one the
                task counts as not measured.
            step: for error messages only; the mixture keeps no clock.
        """
        assert self.losses.usable.any() or self.losses.skipped.any(), "update before observe"
        fresh = self._fresh(inner_products, standard_errors)
        measurement = None
        if fresh.sum() >= 2:
            measurement = of_products(
                inner_products, standard_errors, fresh, self.proportions, self._row_tokens
            )
        return self._learn(inner_products, fresh, fresh, measurement, self.proportions, step)

    def update_by_falls(
        self,
        falls: np.ndarray,
        standard_errors: np.ndarray,
        *,
        step: int,
        freedom: int | None = None,
        seen: np.ndarray | None = None,
    ) -> MetaUpdate:
        """Move the logits by how far the losses of the tasks have fallen over the same stretch.

        Args:
            falls: (K,); NaN where not measured.
            standard_errors: (K,).
            step: as in `update`.
            freedom: degrees of freedom from which the errors are known; the falls are then all that
                is known. None: the errors are known from repeated measurements only, and these are
                pooled.
            seen: (K,) bool, tasks of which the falls hold something new; the others count, but
                grow older. All by default.
        """
        fresh = self._fresh(falls, standard_errors)
        measurement = None
        if fresh.sum() >= 2:
            measurement = of_falls(
                falls, standard_errors, fresh, self.weights, self._initial, self._row_tokens
            )
        worth = np.full(len(falls), np.nan) if measurement is None else measurement.advantages
        renewed = fresh if seen is None else fresh & seen
        return self._learn(worth, fresh, renewed, measurement, self._initial, step, freedom)

    def _fresh(self, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """(K,) bool: measured now, and to be believed."""
        usable = self.trained & (self.losses.usable | ~self.losses.counted)
        fresh: np.ndarray = usable & (np.abs(values) < LARGEST) & ~(errors >= LARGEST)
        return fresh

    def _learn(
        self,
        worth: np.ndarray,
        fresh: np.ndarray,
        renewed: np.ndarray,
        measurement: Measurement | None,
        shares: np.ndarray,
        step: int,
        freedom: int | None = None,
    ) -> MetaUpdate:
        """Nothing moves unless two tasks or more were measured: a score is worth something only
        beside another one. renewed: (K,) bool, what is known of the task holds something new;
        shares: (K,) those for which the measurement gives returns."""
        self._scores = np.where(fresh, -worth, self._scores)
        self._ages = np.where(renewed, 0, self._ages + 1)
        returns = errors = np.full(len(self.tasks), np.nan)
        if measurement is not None:
            at_initial = shares / np.where(self.trained, self._initial, 1.0)
            found = measurement.returns(errors_known=freedom is not None)
            returns, errors = (values * at_initial for values in found)
            if freedom is None:
                worths = measurement.worths(errors_known=False)
                self._evidence.add(*(values * at_initial for values in worths))
        if freedom is None:
            posterior = self._evidence.posterior(self._initial)
        else:
            posterior = self._believed(returns, errors, freedom)
        if self._steps is None:
            if posterior.known:
                logits = np.log(np.maximum(1 + posterior.means, LEAST_WORTH))
                logits = logits / (1 + self._entropy_weight)
                # Repeated measurements are pooled already.
                keep = 0.0 if freedom is None else KEPT_LOGITS
                self._logits = keep * self._logits + (1 - keep) * (logits - logits.mean())
        elif measurement is not None:
            self._logits = self._steps.moved(
                self._logits, measurement, self._evidence.overdispersion
            )
        bounds = self.losses.bounds
        assert np.isfinite(self._logits).all(), f"logits left the real line at step {step}"
        return MetaUpdate(
            proportions=self.proportions,
            logits=self._logits.copy(),
            scores=self._scores.copy(),
            ages=self._ages.copy(),
            returns=returns,
            return_errors=errors,
            deviations=posterior.deviations,
            over_noise=posterior.over_noise,
            validation_losses=self.losses.last.copy(),
            multipliers=np.full(len(self.tasks), np.nan) if bounds is None else bounds.multipliers,
            objective=self.losses.value(),
            entropy=entropy(self.proportions),
        )

    def _believed(self, returns: np.ndarray, errors: np.ndarray, freedom: int) -> Posterior:
        """What is believed of returns - 1. The fall of a task that has no weight is worth nothing,
        which needs no evidence: what stands out is told among the others."""
        weightless = self.trained & self.losses.usable & (self.weights == 0)
        weighed = np.where(weightless, np.nan, returns)
        if np.isfinite(returns).sum() < 2 or not np.isfinite(weighed).any():
            return nothing(len(returns))
        posterior = shrunk(weighed - 1, errors**2, freedom)
        return replace(posterior, means=np.where(weightless, -1.0, posterior.means))

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        targets, weights = self.objective.targets, self.objective.weights
        bounds = self.losses.bounds
        rule = {"adapt.learned.entropy_weight": self._entropy_weight}
        return {
            "adapt.learned.rule": "evidence" if self._steps is None else self._steps.name,
            "adapt.learned.objective": self.objective.name,
            **self.objective.settings(),
            "adapt.learned.targets": None if targets is None else targets.tolist(),
            "test_datasets[].weight": None if weights is None else weights.tolist(),
            "adapt.learned.bounds": None if bounds is None else as_list(bounds.bounds),
            **(rule if self._steps is None else self._steps.fingerprint()),
            "adapt.floor": self._floor,
        }

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        return {
            "tasks": list(self.tasks),
            "logits": self._logits.tolist(),
            "scores": as_list(self._scores),
            "ages": self._ages.tolist(),
            **self.losses.state_dict(),
            "evidence": self._evidence.state_dict(),
            "steps": None if self._steps is None else self._steps.state_dict(),
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
        self._logits = np.array(state["logits"])
        self._scores = as_array(state["scores"])
        self._ages = np.array(state["ages"], dtype=np.int64)
        self.losses.load_state_dict(state)
        self._evidence.load_state_dict(state["evidence"])
        if self._steps is not None:
            self._steps.load_state_dict(state["steps"])
