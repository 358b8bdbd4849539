"""Task scores of one optimizer step, read off the backwards of its micro-batches on all processes.

Dimensions: B lines, T tokens, R rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.in_backward import InBackward, UnfiredHooks
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.ranks import Ranks


class BackwardReader:
    """Used in this order: `begin` -> `micro_batch` around each forward and backward -> `scores`.

    Args:
        model: the trained module.
        parameters: the trained parameters.
        num_tasks: K.
        ranks: the processes of the run.

    Attributes:
        begun: `begin` was called and `scores` not yet.
    """

    def __init__(
        self, model: nn.Module, parameters: Sequence[nn.Parameter], num_tasks: int, ranks: Ranks
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._num_tasks = num_tasks
        self._ranks = ranks
        self._listener: InBackward | None = None
        self._heard: list[tuple[Tensor, Tensor, Tensor]] = []
        self._passed_by: str | None = None
        self.begun = False

    @property
    def listening(self) -> bool:
        """Whether the next backward is to be read: not once a module was passed by."""
        return self._listener is not None

    def begin(self, v: Sequence[Tensor]) -> None:
        """v: the direction, a tensor for each parameter."""
        self.begun, self._heard, self._passed_by = True, [], None
        self._listener = InBackward(self._model, self._parameters)
        self._listener.listen(v)

    @contextlib.contextmanager
    def micro_batch(
        self,
        labels: Tensor,
        row_of_token: Tensor,
        task_of_row: Tensor,
        loss_weight: Callable[[], float],
    ) -> Iterator[None]:
        """Around the forward and backward of one micro-batch, while `listening`.

        Args:
            labels: (B, T).
            row_of_token: (B, T), -1 beside rows.
            task_of_row: (R,).
            loss_weight: after the backward, d(what was differentiated) / d(a token's loss).
        """
        assert self._listener is not None
        self._listener.begin(row_of_token)
        yield
        try:
            if _learns_across_rows(labels, row_of_token):
                raise UnfiredHooks(
                    "packed rows whose first token is supervised: it is predicted from another row"
                )
            products = self._listener.collect(loss_weight(), len(task_of_row))
        except UnfiredHooks as error:
            self._passed_by = str(error)
            self._stop()
            return
        counted = row_of_token[:, 1:][labels[:, 1:] != -100]
        tokens = torch.bincount(counted, minlength=len(task_of_row))
        self._heard.append((products, tokens, task_of_row))

    def scores(self) -> TaskScores:
        """What all processes heard.

        Raises:
            UnfiredHooks: on every process, if a module of any was passed by.
        """
        self._stop()
        self.begun = False
        heard, self._heard = self._heard, []
        if self._ranks.any(self._passed_by is not None, self._parameters[0].device):
            raise UnfiredHooks(self._passed_by or "another process did not hear all modules")
        products, tokens, tasks = (torch.cat(parts) for parts in zip(*heard, strict=True))
        return scores_from_rows(products, tokens, tasks, self._num_tasks, reduce=self._ranks.sum)

    def _stop(self) -> None:
        if self._listener is not None:
            self._listener.stop()
            self._listener = None


def _learns_across_rows(labels: Tensor, row_of_token: Tensor) -> bool:
    """Whether a supervised token, (B, T), is predicted from a token of another row."""
    before, after = row_of_token[:, :-1], row_of_token[:, 1:]
    crossing = (before != after) & (before >= 0) & (after >= 0)
    return bool((crossing & (labels[:, 1:] != -100)).any())
