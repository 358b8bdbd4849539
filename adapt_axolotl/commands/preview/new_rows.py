"""When a mixture that learns from training losses moves, and which rows tell it. K tasks."""

from __future__ import annotations

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.held_out import HeldOutRows
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.mixture.learning_curves import (
    LEAST_INTERVALS,
    WINDOW,
    begins_interval,
    in_window,
)
from adapt_axolotl.run.plan import RunPlan


class NewRows:
    """Rows that are trained on for the first time, by task, (K,), while losses are kept, and
    validation rows that are measured when there are no new ones.

    Attributes:
        first: up to the first move of the mixture.
        last: in the window of the last one.
        held_out: numbers of the validation rows that the meta step reads which is due.
    """

    def __init__(self, plan: RunPlan, validation: TaskPools, settings: CurveSettings) -> None:
        self._plan = plan
        self._which = HeldOutRows(validation, plan.pools, plan.seed)
        self._old = np.zeros(len(plan.pools.tasks), dtype=bool)
        self.held_out = np.zeros(0, dtype=np.int64)
        self._settings = settings
        self._so_far = np.zeros(len(plan.pools.tasks), dtype=np.int64)
        self.first = np.zeros_like(self._so_far)
        self.last = np.zeros_like(self._so_far)
        # As in `LearningCurves`: the tokens at the begin of each interval.
        self._begins: list[float] = []
        self._new_since = False

    def due(self, ledger: TokenLedger) -> bool:
        """Whether the step before which so much is trained on moves the mixture."""
        begins = np.array(self._begins)
        inside = int(in_window(begins, begins[-1]).sum()) if self._begins else 0
        if not self._begins or not begins_interval(self._begins, ledger.used):
            return False
        self._which.counts = self._which.admitted(self._old, ledger.tokens_of_tasks)
        self.held_out = self._which.chosen(self._which.counts)
        enough = inside >= LEAST_INTERVALS and self._new_since
        due = enough or len(self.held_out) > 0
        self._new_since &= not due
        if enough and not self.first.any():
            self.first = self._so_far.copy()
        return due

    def add(self, rows: list[int], before: int, ledger: TokenLedger) -> None:
        """Those of a step that was trained on; `before`: tokens trained on before it."""
        progress = self._plan.progress(ledger)
        if progress < self._settings.start_after:
            return
        if begins_interval(self._begins, max(1, before)):
            self._begins.append(max(1, before))
        pools = self._plan.pools
        drawn = np.bincount(pools.task_of_row[rows], minlength=len(self._so_far))
        self._old = ledger.examples_of_tasks > pools.rows_of_task
        new = np.where(self._old, 0, drawn)
        self._so_far += new
        self._new_since |= bool(new.any())
        if progress >= 1 / WINDOW:
            self.last += new
