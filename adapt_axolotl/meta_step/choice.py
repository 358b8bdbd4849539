"""Which estimator scores the tasks: the first of the candidates that agrees with the reference on
this model, and the next one where it does not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.estimators import estimator
from adapt_axolotl.metagradient.left_out import MOST, LeftOut
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.sharded import trained_parameters

LOG = logging.getLogger("axolotl.adapt.meta_step")


class EstimatorChoice:
    """The estimator in use; all processes hold the same one.

    Args:
        candidates: in the order in which they are tried; the last one always fits.
        model: the trained module.
        training: rows to check on.
        num_tasks: K.
        ranks: the processes of the run.
        seed: of the rows drawn.
        half_precision: the model computes in 16 bits (autocast), whatever its weights are.
        fused_loss: the training loss goes around the head.
        readable: as in `check_estimator`.
    """

    def __init__(
        self,
        candidates: Sequence[Estimator],
        model: nn.Module,
        training: MeasuringRows,
        num_tasks: int,
        ranks: Ranks,
        *,
        seed: int,
        half_precision: bool,
        fused_loss: bool = False,
        readable: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._candidates = list(candidates)
        self._model = model
        self._training = training
        self._num_tasks = num_tasks
        self._ranks = ranks
        self._seed = seed
        trained = next(p for p in model.parameters() if p.requires_grad)
        self.half_precision = half_precision or trained.dtype in (torch.bfloat16, torch.float16)
        self._fused_loss = fused_loss
        self._readable = readable
        self._checked = False
        self._found: dict[str, LeftOut] = {}  # by estimator
        self._resumed_from: str | None = None

    @property
    def current(self) -> Estimator:
        """The estimator in use."""
        return self._candidates[0]

    def settle(self, v: list[Tensor]) -> bool:
        """Once, and again after `drop`: compare the estimator with one backward a task on two rows,
        and drop it if it is wrong. Each time: drop it if it leaves out too much of v.

        Args:
            v: the direction of this meta step.

        Returns:
            Whether it is settled; not if there was nothing to compare with.
        """
        if self._resumed_from is not None:
            here = _hardware(v[0].device)
            if self._ranks.any(self._resumed_from != here, v[0].device):
                LOG.info(
                    f"task scores: {self.current.name} was checked on {self._resumed_from}; it is "
                    f"checked again on {here}"
                )
                self._checked = False
            self._resumed_from = None
        left = self._leaves_out()
        if left.share_of(v) > MOST:
            self.drop(
                f"it leaves out {left.share_of(v):.1%} of the squared length of v, that on "
                f"parameters it has no rule for, such as of {left.modules[0]}"
            )
        if self._checked:
            return True
        first = self._training.draw(
            (0, 1), 1, seed=self._seed, stream=RandomStream.META_TRAINING_ROWS, step=0
        )
        # The same two rows on every rank, unreduced, so that all ranks decide alike.
        batches = self._training.batches(first)
        parameters = trained_parameters(self._model)
        while self.current is not PER_TASK:
            check = check_estimator(
                self.current,
                self._model,
                parameters,
                batches,
                v,
                self._num_tasks,
                half_precision=self.half_precision,
                fused_loss=self._fused_loss,
                readable=self._readable,
            )
            device = parameters[0].device
            if self._ranks.any(not check.possible, device):
                LOG.warning(
                    "task scores: the gradients of the rows that they are checked on are not "
                    "finite; this meta step is left out, training goes on"
                )
                return False
            if not self._ranks.any(not check.passed, device):
                LOG.info(
                    f"task scores by {self.current.name}: agrees with one backward a task to "
                    f"{check.max_relative_error:.1e} (allowed {check.tolerance:.2g})"
                )
                left = self._leaves_out()
                if left.numbers:
                    LOG.info(
                        f"task scores by {self.current.name}: along all trained parameters but "
                        f"{left.numbers:,} of {left.of:,} ({left.share:.1e}), of "
                        f"{len(left.modules)} modules that it has no rule for, such as "
                        f"{left.modules[0]}; they hold {left.share_of(v):.1e} of the squared "
                        "length of v"
                    )
                break
            self.drop(check.reason or "it is wrong on another process")
        self._checked = True
        return True

    @property
    def left_out(self) -> float:
        """The share of the trained parameters along which the estimator in use does not measure."""
        return self._leaves_out().share

    def _leaves_out(self) -> LeftOut:
        """Of the estimator in use; looked for once, because every module is looked at."""
        name = self.current.name
        if name not in self._found:
            trained = [one for one in self._model.parameters() if one.requires_grad]
            self._found[name] = self.current.leaves_out(self._model, trained)
        return self._found[name]

    def drop(self, reason: str) -> None:
        """Go on with the next one, to be checked before it is used."""
        dropped = self._candidates.pop(0)
        self._checked = False
        LOG.warning(
            f"task scores: {dropped.name} does not fit this model ({reason}); using "
            f"{self.current.name} from here on"
        )

    def state_dict(self) -> dict[str, Any]:
        # Another check along another v could decide otherwise: a resume would not be exact. On
        # other hardware other kernels run, and it is not exact in any case.
        return {
            "candidates": [one.name for one in self._candidates],
            "checked": self._checked,
            "checked_on": _hardware(next(self._model.parameters()).device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._candidates = [estimator(name) for name in state["candidates"]]
        self._checked = state["checked"]
        self._resumed_from = state.get("checked_on")


def _hardware(device: torch.device) -> str:
    """What decides about kernels: the device and torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}, torch {torch.__version__}"
