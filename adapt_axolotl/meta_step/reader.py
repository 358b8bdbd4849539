"""Task scores of training steps, read off the backwards of their micro-batches on all processes.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.in_backward import BypassedModule, InBackward
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.rows_apart import learns_across_rows
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import is_sharded


class BackwardReader:
    """Reads optimizer steps: `micro_batch` around each forward and backward, then `scores`.

    Args:
        model: the trained module.
        parameters: the trained parameters.
        v: the direction, a tensor for each parameter.
        num_tasks: K.
        ranks: the processes of the run.
        fused_loss: the training loss goes around the head.
        readable: a context in which the hooks hear the model; it lasts until a backward is over,
            because gradient checkpointing runs layers again in there.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        v: Sequence[Tensor],
        num_tasks: int,
        ranks: Ranks,
        *,
        fused_loss: bool = False,
        readable: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._hooks: InBackward | None = InBackward(model, parameters, v, fused_loss=fused_loss)
        self._readable = readable
        self._together = is_sharded(v)
        self._device = parameters[0].device
        self._num_tasks = num_tasks
        self._ranks = ranks
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self._failure: str | None = None

    @property
    def reading(self) -> bool:
        """Whether the next backward is to be read: not once one went around a module, unless the
        processes read together."""
        return self._hooks is not None

    @contextlib.contextmanager
    def micro_batch(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> Iterator[None]:
        """Around the forward and backward of one micro-batch, while `reading`.

        Args:
            labels: (B, T).
            row_of_token: (B, T), -1 beside rows.
            task_of_row: (R,).
            loss_weight: after the backward, d(what was differentiated) / d(a token's loss).
        """
        assert self._hooks is not None
        self._hooks.begin(row_of_token, labels)
        with self._readable():
            yield
        try:
            # Whatever else one process meets: the share of a sharded head takes all of them.
            products = self._hooks.collect(loss_weight(), len(task_of_row))
            if learns_across_rows(labels, row_of_token):
                raise BypassedModule(
                    "packed rows whose first token is supervised: it is predicted from another row"
                )
        except BypassedModule as error:
            self._failure = str(error)
            # The hooks of other processes, which may have failed at nothing, go on gathering v.
            if not self._together:
                self._remove_hooks()
            return
        counted = row_of_token[:, 1:][labels[:, 1:] != -100]
        tokens = torch.bincount(counted, minlength=len(task_of_row))
        self._rows.append((products, tokens, task_of_row))

    def scores(self) -> TaskScores:
        """Of the rows that all processes read; the hooks are removed.

        Raises:
            BypassedModule: on every process, if a backward of any went around a module.
        """
        self._remove_hooks()
        if self._ranks.any(self._failure is not None, self._device):
            raise BypassedModule(self._failure or "another process could not read its backward")
        products, tokens, tasks = (torch.cat(parts) for parts in zip(*self._rows, strict=True))
        return scores_from_rows(products, tokens, tasks, self._num_tasks, reduce=self._ranks.sum)

    def _remove_hooks(self) -> None:
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
