"""Task scores of training steps whose micro-batches are trained on task by task, on all processes.

Dimensions: B sequences, T tokens, R rows, K tasks, U parts: micro-batches of one task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.estimator import Unreadable
from adapt_axolotl.metagradient.flat_parts import any_flat
from adapt_axolotl.metagradient.gradient_products import GradientProducts
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.rows_apart import obstacle_to_cutting, rows_apart
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import is_sharded
from adapt_axolotl.metagradient.task_batch import TaskBatch


@dataclass(frozen=True)
class Part:
    """The rows of one task in a micro-batch.

    Attributes:
        task: its number.
        batch: to train on. Where this process has no rows of the task it holds others, to be
            weighted 0, and no row is counted in it.
        rows: their numbers in the micro-batch.
        share: of the micro-batch's supervised tokens.
    """

    task: int
    batch: TaskBatch
    rows: Sequence[int]
    share: float


class SplitReader:
    """Reads optimizer steps: `parts` of each micro-batch, `part_backward` around the forward and
    backward of each of them, then `scores`.

    All processes run as many forwards, as trainers ask for, each of its own tasks. FSDP2's
    gradients are of all processes at once, so there they take the same task at the same time. Such
    a score is a mean over tokens as the loss weighs them. Under Axolotl that is usually a mean over
    a process's tokens of the step (`average_tokens_across_devices` is False), so those of a process
    with few count more: first scores were within 15 % of the largest of one process's.

    Args:
        parameters: the trained ones.
        v: the direction, a tensor for each parameter.
        num_tasks: K.
        ranks: the processes of the run.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], v: Sequence[Tensor], num_tasks: int, ranks: Ranks
    ) -> None:
        self._products: GradientProducts | None = GradientProducts(parameters, v)
        self._together = is_sharded(v) and not any_flat(parameters)
        self._num_tasks = num_tasks
        self._ranks = ranks
        self._read: list[Tensor] = []  # (3,) of each part: product, tokens, weight of a token
        self._tasks: list[int] = []
        self._failure = ""

    @property
    def reading(self) -> bool:
        """Whether the next micro-batch is to be split: not once one could not be."""
        return self._products is not None

    def parts(self, batch: TaskBatch) -> list[Part] | None:
        """A micro-batch, task by task; None on all processes if that of any cannot be split. Tasks
        whose rows have no token to predict are left out.

        Args:
            batch: what the model takes, of any kind.
        """
        reason = obstacle_to_cutting(batch.inputs, batch.labels, batch.row_of_token)
        # A task whose rows have no token to predict trains nothing, and the mean over none is NaN.
        none = batch.task_of_row.new_zeros(self._num_tasks)
        present = none.index_add(0, batch.task_of_row, batch.tokens_of_rows())
        if reason is None and not present.any():
            reason = "no token of a micro-batch is predicted"
        counts = present.new_zeros(self._num_tasks + 1)
        counts[int((present > 0).sum())] = 1
        failed = present.new_full((1,), int(reason is not None))
        agreed = self._ranks.sum(torch.cat([failed, present, counts]))
        if agreed[0]:
            self._failure = reason or "another process could not split its micro-batch"
            self._remove_hooks()
            return None
        all_present = agreed[1 : 1 + self._num_tasks]
        tasks = (all_present if self._together else present).nonzero().flatten().tolist()
        total = int(present.sum())
        mine = [self._part(batch, task, total) for task in tasks if present[task]]
        idle = _without_rows(min((one.batch for one in mine), key=lambda one: one.labels.numel()))
        if self._together:
            by_task = {one.task: one for one in mine}
            return [by_task.get(task, Part(task, idle, (), 0.0)) for task in tasks]
        most = int(agreed[1 + self._num_tasks :].nonzero().max())
        return mine + [Part(mine[-1].task, idle, (), 0.0)] * (most - len(mine))

    def _part(self, batch: TaskBatch, task: int, total: int) -> Part:
        mine = batch.task_of_row == task
        part = rows_apart(batch, mine)
        share = int(part.tokens_of_rows().sum()) / total
        return Part(task, part, mine.nonzero().flatten().tolist(), share)

    @contextlib.contextmanager
    def part_backward(self, part: Part, loss_weight: Callable[[], float]) -> Iterator[None]:
        """Around the forward and backward of one part.

        Args:
            part: of `parts`, in their order.
            loss_weight: after the backward, d(what was differentiated) / d(a token's loss).
        """
        assert self._products is not None
        self._products.begin()
        yield
        product = self._products.collect()
        if self._together or len(part.rows):
            tokens = part.batch.tokens_of_rows().sum()
            weight = torch.full_like(product, loss_weight())
            self._read.append(torch.stack([product, tokens.to(product), weight]))
            self._tasks.append(part.task)

    def scores(self) -> TaskScores:
        """Of the parts that all processes read, over which the standard errors are; the hooks are
        removed.

        Raises:
            Unreadable: on every process, if a micro-batch of any could not be split.
        """
        self._remove_hooks()
        if self._failure:
            raise Unreadable(self._failure)
        products, tokens, weights = torch.stack(self._read, dim=1)  # (U,) each
        tasks = torch.tensor(self._tasks, device=products.device)
        if not self._together:
            return scores_from_rows(
                products / weights, tokens, tasks, self._num_tasks, reduce=self._ranks.sum
            )
        # The same parts on every process, each with its share of the tokens.
        products, tokens, summed, weighing = self._ranks.sum(
            torch.stack([products, tokens * weights, weights, (weights > 0).to(weights)])
        )
        weight = summed / weighing  # a mean has no weight where a process has no rows
        return scores_from_rows(products / weight, tokens / weight, tasks, self._num_tasks)

    def _remove_hooks(self) -> None:
        if self._products is not None:
            self._products.remove()
            self._products = None


def _without_rows(batch: TaskBatch) -> TaskBatch:
    """Of no rows; what the model takes stays, because a loss is to come of it."""
    nowhere = torch.full_like(batch.row_of_token, -1)
    return TaskBatch(batch.inputs, batch.labels, nowhere, batch.task_of_row[:0])
