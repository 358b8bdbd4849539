"""What a run asks of whatever learns its mixture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from adapt_axolotl.meta_step.split_reader import Part
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.mixture import Mixture


class BegunStep(Protocol):
    """A meta step that has begun."""

    @property
    def reading(self) -> bool:
        """Whether the next training backward is to be read."""

    def training_backward(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> contextlib.AbstractContextManager[None]:
        """As `BackwardReader.micro_batch`; only while `reading`, and not where it `splits`."""

    @property
    def splits(self) -> bool:
        """Whether the micro-batches of training are split by task while `reading`."""

    def parts(self, batch: TaskBatch) -> list[Part] | None:
        """As `SplitReader.parts`; only where it `splits`."""

    def part_backward(
        self, part: Part, loss_weight: Callable[[], float]
    ) -> contextlib.AbstractContextManager[None]:
        """As `SplitReader.part_backward`; only where it `splits`."""

    def goes_on(self, step: int) -> bool:
        """Whether it reads on after optimizer step `step`."""

    def finish(self) -> MetaUpdate | None:
        """Move the mixture, once; None where its proportions are all there is to tell."""


class Learner(Protocol):
    """Begins meta steps: `CurveLearner` by the losses of training rows, `FallLearner` by those of
    validation rows, `MetaLearner` by gradient products; `LossLearner` moves the mixture at each
    step by the losses of its rows."""

    @property
    def mixture(self) -> Mixture:
        """What moves."""

    @property
    def measures(self) -> str | None:
        """What is measured, for the records; None where it moves with every step."""

    @property
    def left_out(self) -> float | None:
        """The share of the trained parameters along which gradient products are not measured; None
        where none are."""

    def due(self, step: int, progress: float) -> bool:
        """Whether optimizer step `step`, from 0, at this share of the budget, has a meta step."""

    def tokens(self, step: int) -> int:
        """Supervised tokens that its meta step reads beside the training batch."""

    def begin(self, step: int) -> BegunStep:
        """Before the forward of optimizer step `step`."""

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on learning the same mixture."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class RowLearner(Protocol):
    """A learner that is told the losses of the rows that training sees."""

    def take_rows(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """Of a micro-batch of this rank, (R,) each: the task, the sum of token losses, nats, how
        many tokens these are."""

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        """As `CurveLearner.end_step`."""
