"""Mixtures that are moved at every optimizer step by the training losses of that step. K tasks.

What online methods of this kind have in common: a state of one number a task, in logarithms or
bounded, so that nothing overflows; and a rule, one a file, that makes the new state from the losses
of the tasks, and proportions from the state. A step is drawn one step ahead of training, so the
rows of step s were drawn under the proportions after the update of step s - 2.

Tasks with a share of their own (`adapt.tokens`) keep it, and targets that are not trained on have
none; a rule is over the others alone, and K counts these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from adapt_axolotl.mixture.nan_as_null import as_array, as_list

# Of a share over the largest, as a logarithm: one that is 0 in floats would be that of a task which
# is left out.
LEAST_LOG = -50.0


@dataclass(frozen=True)
class StepLosses:
    """Losses of one optimizer step. Arrays are (K,).

    Attributes:
        latest: mean loss per supervised token, of this step where the task had rows in it, else of
            the last one where it had; NaN before there was any.
        measured: bool, tasks with rows in this step.
        tokens: part of the step's supervised tokens, those of all tasks, that is the task's.
        drawn: the proportions under which its rows were drawn, on the simplex.
    """

    latest: np.ndarray
    measured: np.ndarray
    tokens: np.ndarray
    drawn: np.ndarray


class LossRule(Protocol):
    """How a mixture follows training losses."""

    @property
    def name(self) -> str:
        """As `adapt.mixture` has it."""

    def updated(self, state: np.ndarray, losses: StepLosses) -> np.ndarray:
        """(K,) the new state; it begins as zeros."""

    def shares(self, state: np.ndarray, step: int) -> np.ndarray:
        """(K,) on the simplex. step: updates so far."""

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on with the same mixtures."""


def excess_over(latest: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    """(K,) last losses less those of the reference, where there is one. A task that has had no rows
    yet has the mean of the others: what is not known of it is no reason for less of it."""
    excess = latest if reference is None else latest - reference
    known = np.isfinite(excess)
    return np.where(known, excess, excess[known].mean() if known.any() else 0.0)


class LossMixture:
    """Proportions that follow a rule: `update`, once an optimizer step.

    Args:
        tasks: the names of all tasks.
        rule: what it follows.
        initial: their shares at the start, on the simplex; a task of share 0 stays there.
        fixed: bool, tasks whose share stays its initial one; none by default.

    Attributes:
        rule: what it follows.
        proportions: in force for the next draw, of all tasks.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        rule: LossRule,
        initial: np.ndarray,
        fixed: np.ndarray | None = None,
    ) -> None:
        self.tasks = tuple(tasks)
        self.rule = rule
        self.proportions = initial
        self._initial = initial
        self._moving = initial > 0 if fixed is None else (initial > 0) & ~fixed
        count = int(self._moving.sum())
        self._state = np.zeros(count)
        self._latest = np.full(count, np.nan)
        self._before = initial  # the proportions before the last update
        self._updates = 0

    def update(self, losses: np.ndarray, tokens: np.ndarray) -> None:
        """Move by the losses of a step.

        Args:
            losses: of all tasks, mean per supervised token; NaN for those without rows in it.
            tokens: of all tasks, supervised tokens that these are over.
        """
        found = losses[self._moving]
        measured = np.isfinite(found)
        self._latest = np.where(measured, found, self._latest)
        drawn = self._before[self._moving]
        of_step = tokens[self._moving] / max(1.0, float(tokens[self._moving].sum()))
        step_losses = StepLosses(self._latest.copy(), measured, of_step, drawn / drawn.sum())
        self._before = self.proportions
        self._state = self.rule.updated(self._state, step_losses)
        self._updates += 1
        self.proportions = self._now()

    def _now(self) -> np.ndarray:
        shares = self._initial.copy()
        rest = self._initial[self._moving].sum()
        shares[self._moving] = rest * self.rule.shares(self._state, self._updates)
        return shares

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on with the same mixtures."""
        return {"adapt.mixture": self.rule.name, **self.rule.fingerprint()}

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        return {
            "state": self._state.tolist(),
            "latest": as_list(self._latest),
            "before": self._before.tolist(),
            "proportions": self.proportions.tolist(),
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state = np.array(state["state"])
        self._latest = as_array(state["latest"])
        self._before = np.array(state["before"])
        self.proportions = np.array(state["proportions"])
        self._updates = state["updates"]
