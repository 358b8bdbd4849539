"""What every estimator of the task scores is: one type, so that nothing else needs its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from adapt_axolotl.metagradient.left_out import LeftOut, nothing_left_out
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.scores import TaskScores
from adapt_axolotl.metagradient.task_batch import TaskBatch


class Unreadable(ValueError):
    """The training step cannot be read by this estimator."""


class Scores(Protocol):
    """Task scores of rows of training data."""

    def __call__(
        self,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        batches: Sequence[TaskBatch],
        v: Sequence[Tensor],
        num_tasks: int,
        *,
        half_precision: bool = False,
        fused_loss: bool = False,
        reduce: Reduce = single_process,
    ) -> TaskScores:
        """<v, grad L_k> of the tasks in the batches.

        Args:
            model: gives logits; in evaluation mode.
            parameters: the trained ones. Their values and `.grad` are as before afterwards.
            batches: this rank's training rows.
            v: the direction, a tensor for each parameter.
            num_tasks: K.
            half_precision: the model computes in 16 bits, whatever its parameters are kept in.
            fused_loss: the training loss goes around the head; only what reads it asks.
            reduce: adds over the ranks.
        """
        ...


@dataclass(frozen=True)
class Estimator:
    """A way of measuring the inner products <v, grad L_k>.

    Attributes:
        name: its key in a recipe.
        own_rows: it reads training rows of its own; otherwise it reads the training step's.
        cost: in training steps on as many tokens: of its pass over rows of its own, or what reading
            adds to the training step. Measured by `make bench`.
        tolerance: largest error beside the reference, relative to the largest score, that is taken
            for rounding.
        half_precision_tolerance: the same where the model computes in 16 bits.
        scores: its scores of given batches.
        leaves_out: of a model and its trained parameters those along which it does not measure.
    """

    name: str
    own_rows: bool
    cost: float
    tolerance: float
    half_precision_tolerance: float
    scores: Scores
    leaves_out: Callable[[nn.Module, Sequence[nn.Parameter]], LeftOut] = nothing_left_out

    def allowed_error(self, half_precision: bool) -> float:
        """The tolerance that holds."""
        return self.half_precision_tolerance if half_precision else self.tolerance
