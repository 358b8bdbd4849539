"""Which estimator scores the tasks: the first of those listed that agrees with the reference on
this model, and what takes over where one does not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.probe import TRAINING_STREAM, ProbeRows
from adapt_axolotl.ranks import Ranks

LOG = logging.getLogger("axolotl.adapt.estimator_choice")


class EstimatorChoice:
    """The estimator in use; all processes hold the same one.

    Args:
        names: estimators in the order in which they are tried; the last one always works.
        model: the trained module.
        parameters: the trained parameters.
        training: rows to check on.
        num_tasks: K.
        ranks: the processes of the run.
        seed: of the rows drawn.
        half_precision: the model computes in 16 bits (autocast), whatever its weights are.
    """

    def __init__(
        self,
        names: Sequence[str],
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        training: ProbeRows,
        num_tasks: int,
        ranks: Ranks,
        *,
        seed: int,
        half_precision: bool,
    ) -> None:
        self._names = list(names)
        self._model = model
        self._parameters = parameters
        self._training = training
        self._num_tasks = num_tasks
        self._ranks = ranks
        self._seed = seed
        self._half_precision = half_precision
        self._checked = False

    @property
    def name(self) -> str:
        """The estimator in use."""
        return self._names[0]

    @property
    def epsilon(self) -> float:
        """Relative step of the finite difference; 16 bits cannot resolve the smaller one."""
        return 1e-3 if self._in_half else 1e-4

    @property
    def _in_half(self) -> bool:
        return self._half_precision or self._parameters[0].dtype in (torch.bfloat16, torch.float16)

    def settle(self, v: list[Tensor]) -> bool:
        """Once, and again after `drop`: compare the estimator with one backward a task on two rows,
        and drop it if it is wrong.

        Args:
            v: the direction of this meta step.

        Returns:
            Whether it is settled; not if there was nothing to compare with.
        """
        if self._checked:
            return True
        first = self._training.draw((0, 1), 1, seed=self._seed, stream=TRAINING_STREAM, step=0)
        # The same two rows on every rank, unreduced, so that all ranks decide alike.
        batches = self._training.batches(first)
        while self.name != "per_task":
            check = check_estimator(
                self.name,
                self._model,
                self._parameters,
                batches,
                v,
                self._num_tasks,
                epsilon=self.epsilon,
                half_precision=self._in_half,
            )
            device = self._parameters[0].device
            if self._ranks.any(not check.possible, device):
                LOG.warning(
                    "task scores: the gradients of the rows that they are checked on are not "
                    "finite; this meta step is left out, training goes on"
                )
                return False
            if not self._ranks.any(not check.passed, device):
                LOG.info(
                    f"task scores by {self.name}: agrees with one backward a task to "
                    f"{check.max_relative_error:.1e} (allowed {check.tolerance:.2g})"
                )
                break
            self.drop(check.reason or "it is wrong on another process")
        self._checked = True
        return True

    def drop(self, reason: str) -> None:
        """Go on with the next one, to be checked before it is used."""
        dropped = self._names.pop(0)
        self._checked = False
        LOG.warning(
            f"task scores: {dropped} does not fit this model ({reason}); using {self.name} "
            "from here on"
        )

    def state_dict(self) -> dict[str, Any]:
        # Another check along another v could decide otherwise: a resume would not be exact.
        return {"candidates": self._names, "checked": self._checked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._names = list(state["candidates"])
        self._checked = state["checked"]
