"""What meta steps read beside the training batches, and what that costs. K tasks, N rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.meta_step.rows import turns_of_a_round
from adapt_axolotl.meta_step.schedule import FORWARD, meta_step_cost
from adapt_axolotl.meta_step.training_losses import CurveSettings

Settings = MetaSettings | FallSettings | CurveSettings


@dataclass(frozen=True)
class MetaReads:
    """What meta steps read beside the training batches.

    Attributes:
        training: rows.
        validation: rows.
        counted: (K,) bool, the tasks that the objective is over.
    """

    training: TaskPools
    validation: TaskPools
    counted: np.ndarray

    def tokens(self, meta: Settings, held_out: np.ndarray | None) -> int:
        """Supervised tokens of a meta step, expected. held_out: numbers of the validation rows that
        it reads, where they are known."""
        if held_out is not None:
            return int(self.validation.supervised_tokens[held_out].sum())
        assert not isinstance(meta, CurveSettings)
        tokens = self._of_validation(self.validation.supervised_tokens, meta)
        if _has_rows_of_its_own(meta):
            tokens += self._of_training(self.training.supervised_tokens, meta)
        return round(tokens)

    def cost(self, meta: Settings, step: int, held_out: np.ndarray | None) -> float:
        """Expected cost of a meta step, in training steps of `step` tokens. Checks, padding and
        copies of the weights are left out. held_out: as for `tokens`."""
        if held_out is not None:
            return FORWARD * float(self.validation.lengths[held_out].sum()) / step
        assert not isinstance(meta, CurveSettings)
        validation = self._of_validation(self.validation.lengths, meta)
        if isinstance(meta, FallSettings):
            return FORWARD * validation / step
        return meta_step_cost(
            meta.estimators[0],
            look_ahead=meta.look_ahead,
            validation=validation,
            training=self._of_training(self.training.lengths, meta),
            step=step,
            read_steps=meta.read_steps,
        )

    def _of_validation(self, values: np.ndarray, meta: MetaSettings | FallSettings) -> float:
        counted = self.counted if isinstance(meta, MetaSettings) else np.ones_like(self.counted)
        return _drawn(self.validation, values, meta, counted)

    def _of_training(self, values: np.ndarray, meta: MetaSettings | FallSettings) -> float:
        return _drawn(self.training, values, meta, self.training.rows_of_task > 0)


def _has_rows_of_its_own(meta: Settings) -> bool:
    return isinstance(meta, MetaSettings) and (meta.look_ahead or meta.estimators[0].own_rows)


def _drawn(
    pools: TaskPools, values: np.ndarray, meta: MetaSettings | FallSettings, tasks: np.ndarray
) -> float:
    """Expected sum of `values`, (N,), over the rows of these tasks, (K,) bool, that a meta step
    draws from the pools."""
    rows = np.maximum(1, pools.rows_of_task)
    drawn = np.minimum(rows, meta.rows_per_task)
    all_tasks = float((drawn * pools.by_task(values) / rows)[tasks].sum())
    if isinstance(meta, FallSettings):
        return all_tasks
    return all_tasks / turns_of_a_round(int(tasks.sum()), meta.tasks_at_once)
