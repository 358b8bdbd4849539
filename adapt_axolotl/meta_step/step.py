"""One meta step, from its measured direction to the new proportions.

v -> scores <v, grad L_k>, measured at once or read off the training backwards -> proportions
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapt_axolotl.meta_step.choice import EstimatorChoice
from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.meta_step.split_reader import Part, SplitReader
from adapt_axolotl.metagradient.estimator import Unreadable
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.scores import TaskScores
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.meta_update import MetaUpdate


@dataclass
class MetaStep:
    """A meta step that has begun: while `reading`, `training_backward` around each micro-batch or,
    if it `splits`, `part_backward` around each of the `parts` of one; then `finish`, once.

    Attributes:
        step: the optimizer step that it belongs to, from 0.
        mixture: what it moves.
        choice: the estimator in use.
        ranks: the processes of the run.
        device: where ranks reduce.
        reader: reads the training backwards; None where the scores are measured already.
        last: the optimizer step with which reading ends.
        scores: measured already; None where they are still read, or could not be measured.
    """

    step: int
    mixture: LearnedMixture
    choice: EstimatorChoice
    ranks: Ranks
    device: torch.device
    reader: BackwardReader | SplitReader | None = None
    scores: TaskScores | None = None
    last: int = 0

    def goes_on(self, step: int) -> bool:
        """Whether it reads on after optimizer step `step`; the same on all ranks, whatever one of
        them could read."""
        return self.reader is not None and step < self.last

    @property
    def reading(self) -> bool:
        """Whether the next training backward is to be read."""
        return self.reader is not None and self.reader.reading

    def training_backward(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> contextlib.AbstractContextManager[None]:
        """As `BackwardReader.micro_batch`."""
        assert isinstance(self.reader, BackwardReader)
        return self.reader.micro_batch(labels, row_of_token, task_of_row, loss_weight)

    @property
    def splits(self) -> bool:
        """Whether the micro-batches of training are split by task."""
        return isinstance(self.reader, SplitReader)

    def parts(self, batch: TaskBatch) -> list[Part] | None:
        """As `SplitReader.parts`."""
        assert isinstance(self.reader, SplitReader)
        return self.reader.parts(batch)

    def part_backward(
        self, part: Part, loss_weight: Callable[[], float]
    ) -> contextlib.AbstractContextManager[None]:
        """As `SplitReader.part_backward`."""
        assert isinstance(self.reader, SplitReader)
        return self.reader.part_backward(part, loss_weight)

    def finish(self) -> MetaUpdate:
        """Move the mixture by what was measured; it stays where nothing was.

        Raises:
            RuntimeError: the processes of the run hold different mixtures.
        """
        scores = self._read_scores() if self.reader is not None else self.scores
        if scores is None:
            nothing = np.full(len(self.mixture.tasks), np.nan)
            return self.mixture.update(nothing, nothing, step=self.step)
        update = self.mixture.update(
            scores.inner_products.cpu().numpy(),
            scores.standard_errors.cpu().numpy(),
            step=self.step,
        )
        return on_all_ranks(update, self.step, self.ranks, self.device)

    def _read_scores(self) -> TaskScores | None:
        """Off the training backwards; None, and another estimator from here on, if one of them
        could not be read."""
        assert self.reader is not None
        try:
            return self.reader.scores()
        except Unreadable as error:
            self.choice.drop(str(error))
            return None


@dataclass
class MeasuredStep:
    """A meta step that has measured before the forward and reads nothing of the training; see
    `MetaStep` for what a run asks of it.

    Attributes:
        learn: moves the mixture.
    """

    learn: Callable[[], MetaUpdate | None]
    reading: bool = False
    splits: bool = False

    def goes_on(self, step: int) -> bool:
        """Whether it reads on after optimizer step `step`."""
        return False

    def training_backward(self, *_: Any) -> contextlib.AbstractContextManager[None]:
        raise AssertionError("nothing is read of the training backward")

    def parts(self, batch: TaskBatch) -> list[Part] | None:
        raise AssertionError("nothing is read of the training backward")

    def part_backward(self, *_: Any) -> contextlib.AbstractContextManager[None]:
        raise AssertionError("nothing is read of the training backward")

    def finish(self) -> MetaUpdate | None:
        """Move the mixture.

        Raises:
            RuntimeError: the processes of the run hold different mixtures.
        """
        return self.learn()


def on_all_ranks(update: MetaUpdate, step: int, ranks: Ranks, device: torch.device) -> MetaUpdate:
    """The update, which every process made for itself.

    Raises:
        RuntimeError: as `refuse_other_mixtures`.
    """
    refuse_other_mixtures(update.proportions, step, ranks, device)
    return update


def refuse_other_mixtures(
    proportions: np.ndarray, step: int, ranks: Ranks, device: torch.device
) -> None:
    """
    Raises:
        RuntimeError: the processes of the run hold different mixtures. Each draws for itself: a bit
            of difference, and rows would be lost or doubled.
    """
    if not ranks.agree(torch.as_tensor(proportions).to(device)):
        raise RuntimeError(
            f"the processes of this run hold different mixtures after step {step}, so they would "
            "draw different rows; resume from the last checkpoint, and report this with the recipe"
        )
