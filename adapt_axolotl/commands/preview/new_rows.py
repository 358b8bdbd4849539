"""How many rows a mixture that learns from the losses of training is told by. K tasks."""

from __future__ import annotations

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.mixture.learning_curves import WINDOW
from adapt_axolotl.run.plan import RunPlan


class NewRows:
    """Rows that are trained on for the first time, by task, (K,), while losses are kept: up to the
    first move of the mixture, and in the window of the last one."""

    def __init__(self, plan: RunPlan, settings: CurveSettings) -> None:
        self._plan = plan
        self._settings = settings
        self.so_far = np.zeros(len(plan.pools.tasks), dtype=np.int64)
        self.first = np.zeros_like(self.so_far)
        self.last = np.zeros_like(self.so_far)

    def add(self, rows: list[int], ledger: TokenLedger) -> None:
        """Those of a step that is about to train."""
        progress = self._plan.progress(ledger)
        if progress < self._settings.start_after:
            return
        pools = self._plan.pools
        drawn = np.bincount(pools.task_of_row[rows], minlength=len(self.so_far))
        new = np.where(ledger.examples_of_tasks + drawn <= pools.rows_of_task, drawn, 0)
        self.so_far += new
        if progress >= 1 / WINDOW:
            self.last += new
