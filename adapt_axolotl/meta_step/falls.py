"""Meta steps that need no gradients: how far the validation loss of each task has fallen since the
meta step before, on the same rows.

    validation rows -> their losses, now and the last time -> falls of the tasks -> mixture

Each meta step measures the rows of the one before again, and new ones for the next. So a fall is a
mean of differences of the same rows, in which what makes one row harder than another cancels, and
falls of different meta steps are of different rows: were they always the same, what is peculiar to
them would look like a difference between tasks, however often it is measured. It takes forwards,
whatever the number of tasks, and nothing of the model but its losses: it works with any kernel,
adapter, precision or sharding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.step import MeasuredStep, on_all_ranks
from adapt_axolotl.meta_step.validation import losses_of_rows, warn_of_unusable
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.nan_as_null import as_array, as_list

NAME = "loss_falls"


@dataclass(frozen=True)
class FallSettings:
    """When and on what the losses are measured.

    Attributes:
        steps: the optimizer steps, from 0, before which they are; the first falls are those to the
            second of them.
        rows_per_task: new validation rows of each task in a meta step, or all that it has.
        seed: of the rows drawn.
    """

    steps: Sequence[int]
    rows_per_task: int
    seed: int

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step` has a meta step, whatever was spent by then."""
        return step in self.steps


class FallLearner:
    """Begins meta steps, as `MetaLearner` does.

    Args:
        mixture: what is learned.
        model: the trained module, as forwards go through it.
        validation: rows of the objective.
        settings: when and on what.
        ranks: the processes of the run.
        measuring: a context in which the model can be measured.
    """

    measures = NAME
    left_out = None

    def __init__(
        self,
        mixture: LearnedMixture,
        model: nn.Module,
        validation: MeasuringRows,
        settings: FallSettings,
        ranks: Ranks,
        measuring: Callable[[], contextlib.AbstractContextManager[Any]],
    ) -> None:
        self.mixture = mixture
        self._model = model
        self._validation = validation
        self._settings = settings
        self._ranks = ranks
        self._measuring = measuring
        # Of the last meta step: its optimizer step, the sums of its new rows' token losses, (R,).
        self._last_step: int | None = None
        self._last = np.zeros(0)

    def due(self, step: int, progress: float) -> bool:
        """As `FallSettings.due`."""
        return self._settings.due(step, progress)

    def _new_rows(self, step: int) -> np.ndarray:
        """Row numbers, ascending."""
        tasks = range(len(self.mixture.tasks))
        settings = self._settings
        return np.sort(
            self._validation.draw(
                tasks,
                settings.rows_per_task,
                seed=settings.seed,
                stream=RandomStream.META_VALIDATION_ROWS,
                step=step,
            )
        )

    def rows(self, step: int) -> np.ndarray:
        """Row numbers that the meta step at `step` measures, ascending: those of the last one, and
        new ones."""
        new = self._new_rows(step)
        return new if self._last_step is None else np.union1d(self._new_rows(self._last_step), new)

    def tokens(self, step: int) -> int:
        """Supervised tokens that the meta step at `step` reads."""
        return self._validation.tokens(self.rows(step))

    def begin(self, step: int) -> MeasuredStep:
        """Measure at the current weights; step: the optimizer step, from 0."""
        rows = self.rows(step)
        with self._measuring():
            sums, tokens = losses_of_rows(self._model, self._validation, rows, self._ranks)
        tasks = torch.as_tensor(self._validation.tasks(rows))
        count = len(self.mixture.tasks)
        losses = scores_from_rows(torch.as_tensor(sums), tokens, tasks, count)
        self._observe(losses.inner_products.numpy())
        falls, errors = (np.full(count, np.nan) for _ in range(2))
        if self._last_step is not None:
            again = np.searchsorted(rows, self._new_rows(self._last_step))
            fallen = scores_from_rows(
                torch.as_tensor(self._last - sums[again]), tokens[again], tasks[again], count
            )
            falls, errors = fallen.inner_products.numpy(), fallen.standard_errors.numpy()
        self._last_step = step
        self._last = sums[np.searchsorted(rows, self._new_rows(step))]
        return MeasuredStep(
            lambda: on_all_ranks(
                self.mixture.update_by_falls(falls, errors, step=step),
                step,
                self._ranks,
                next(self._model.parameters()).device,
            )
        )

    def _observe(self, losses: np.ndarray) -> None:
        self.mixture.observe(losses)
        warn_of_unusable(self.mixture.tasks, losses, ~np.isfinite(losses))

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""
        return {
            "adapt.learned.measure": NAME,
            "meta steps": list(self._settings.steps),
            "adapt.learned.rows_per_task": self._settings.rows_per_task,
            **self.mixture.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; a number for each new row of a meta step."""
        return {
            "mixture": self.mixture.state_dict(),
            "last_step": self._last_step,
            "last": as_list(self._last),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self._last_step = state["last_step"]
        self._last = as_array(state["last"])
