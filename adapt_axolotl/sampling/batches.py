"""The micro-batches of each optimizer step, drawn by a mixture within a token budget.

`TaskStream` chooses rows; `MixtureBatchSampler` groups them into the micro-batches of an optimizer
step (a block) and asks the ledger whether the block still fits the budget. Blocks are drawn from
one global stream before ranks take their shares, so the rows of step s are the same for any number
of ranks that have the same global batch.

Look-ahead: exactly one optimizer step. Trainer collects the batches of a step, and the loader
fetches one beyond them, before the step trains; so what is learned in step s shows from step s + 2
on, on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import BatchSampler

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.sampling.quotas import shares_with_quotas
from adapt_axolotl.sampling.stream import TaskStream

MicroBatch = list[int] | list[list[int]]


def rows_of(micro_batch: MicroBatch) -> list[int]:
    """The rows of a micro-batch in the order of its tokens, plain or packed."""
    return [row for entry in micro_batch for row in (entry if isinstance(entry, list) else [entry])]


@dataclass(frozen=True)
class BlockShape:
    """How an optimizer step is laid out.

    Attributes:
        micro_batches: gradient accumulation steps times ranks.
        rows: rows of a plain micro-batch, or bins of a packed one.
        bin_tokens: capacity of a bin in tokens; None means no packing.
    """

    micro_batches: int
    rows: int
    bin_tokens: int | None = None


@dataclass(frozen=True)
class Block:
    """The rows of one optimizer step, all ranks together."""

    index: int
    micro_batches: list[MicroBatch]

    def rows(self) -> list[int]:
        return [row for micro_batch in self.micro_batches for row in rows_of(micro_batch)]


class MixtureBatchSampler(BatchSampler):
    """Micro-batches that follow a mixture and end with the budget; resumable to the batch.

    It is un-sized on purpose: how many steps a token budget buys is known only at its end.

    Args:
        stream: where rows come from.
        proportions: called when a block is drawn, gives the (K,) shares in force.
        shape: layout of a block.
        ledger: reserves the tokens of each block; a block that does not fit ends the run.
        quotas: (K,) supervised tokens that a task gets in the whole run, infinite where that
            follows from its share; None where it does for all.
        undrawn: about how many tokens of the budget are left where the rows end the run.

    Attributes:
        finished: there is no further block.
        rows_ended: because every task has reached `max_repeats`, not because of the budget.
    """

    def __init__(
        self,
        stream: TaskStream,
        proportions: Callable[[], np.ndarray],
        shape: BlockShape,
        ledger: TokenLedger,
        quotas: np.ndarray | None = None,
        undrawn: float = 0.0,
    ) -> None:
        # BatchSampler.__init__ would want an inner sampler; accelerate reads these two only.
        self.batch_size = shape.rows
        self.drop_last = True
        self._stream = stream
        self._proportions = proportions
        self._shape = shape
        self._ledger = ledger
        self._pools = ledger.pools
        self._quotas = quotas
        self._undrawn = undrawn
        self._blocks: dict[int, Block] = {}
        self._next_index = 0
        self._held_row: int | None = None
        self.finished = False
        self.rows_ended = False

    def __len__(self) -> int:
        raise TypeError("a token budget has no number of batches before it is spent")

    def __iter__(self) -> Iterator[Any]:  # of MicroBatch; BatchSampler declares list[int]
        """From the first block that was not committed: after a resume, or when an epoch restarts
        and the loader has thrown a fetched batch away, nothing is lost or drawn twice."""
        index = min(self._blocks, default=self._next_index)
        while (block := self.block(index)) is not None:
            yield from block.micro_batches
            index += 1

    @property
    def blocks(self) -> int:
        """How many have been drawn."""
        return self._next_index

    def block(self, index: int) -> Block | None:
        """The block of optimizer step `index`, drawn now if it was not; None past the budget."""
        assert index >= min(self._blocks, default=self._next_index), "that block is committed"
        while index >= self._next_index and not self.finished:
            self._draw_block()
        return self._blocks.get(index)

    def commit(self, index: int) -> Block:
        """Forget the block of a finished step; gives it back for the ledger."""
        return self._blocks.pop(index)

    def _draw_block(self) -> None:
        micro_batches = self._packed() if self._shape.bin_tokens is not None else self._plain()
        if micro_batches is not None:
            block = Block(self._next_index, micro_batches)
            if self._ledger.reserve(block.rows()):
                self._blocks[block.index] = block
                self._next_index += 1
                return
        self.finished = True
        self.rows_ended = micro_batches is None

    def _drawing(self) -> Callable[[], int | None]:
        """Draws the rows of one block, by the proportions of now."""
        proportions = self._proportions()
        with_rows = self._pools.rows_of_task > 0
        assert with_rows[proportions > 0].all(), "a share of a task without rows"
        if self._quotas is None:
            return lambda: self._stream.draw(proportions)
        left = self._quotas - self._taken()
        # Of all blocks so far, so that it does not matter which are committed.
        block = (self._ledger.budget - self._ledger.free) / max(1, self._next_index)
        free = max(0.0, self._ledger.free - self._undrawn)
        shares = shares_with_quotas(proportions, left, free, block)

        def draw() -> int | None:
            row = self._stream.draw(shares, left)
            if row is not None:
                left[self._pools.task_of_row[row]] -= self._pools.supervised_tokens[row]
            return row

        return draw

    def _taken(self) -> np.ndarray:
        """(K,) supervised tokens of each task that have changed the weights or are to."""
        rows = [row for block in self._blocks.values() for row in block.rows()]
        rows += [] if self._held_row is None else [self._held_row]
        drawn = np.bincount(
            self._pools.task_of_row[rows],
            weights=self._pools.supervised_tokens[rows],
            minlength=len(self._pools.tasks),
        )
        return self._ledger.tokens_of_tasks + drawn

    def _plain(self) -> list[MicroBatch] | None:
        micro_batches: list[MicroBatch] = []
        draw = self._drawing()
        for _ in range(self._shape.micro_batches):
            rows: list[int] = []
            for _ in range(self._shape.rows):
                row = draw()
                if row is None:
                    return None
                rows.append(row)
            micro_batches.append(rows)
        return micro_batches

    def _packed(self) -> list[MicroBatch] | None:
        """First fit in draw order; the first row that fits no bin is held for the next block, so
        packing never changes which rows are drawn, nor their order."""
        capacity = self._shape.bin_tokens
        assert capacity is not None
        bins: list[list[int]] = [[] for _ in range(self._shape.micro_batches * self._shape.rows)]
        free = np.full(len(bins), capacity)
        draw = self._drawing()
        while True:
            row = self._held_row if self._held_row is not None else draw()
            self._held_row = None
            if row is None:
                if all(bins):
                    break
                return None
            length = self._pools.lengths[row]
            fits = np.flatnonzero(free >= length)
            if len(fits) == 0:
                self._held_row = row
                break
            bins[fits[0]].append(row)
            free[fits[0]] -= length
        # Bins fill from the first to the last; dealing them out gives each rank a like share.
        count = self._shape.micro_batches
        return [bins[first::count] for first in range(count)]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; holds the drawn but not yet trained blocks, so no batch is lost."""
        return {
            "stream": self._stream.state_dict(),
            "next_index": self._next_index,
            "held_row": self._held_row,
            "finished": self.finished,
            "rows_ended": self.rows_ended,
            "blocks": {str(index): block.micro_batches for index, block in self._blocks.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.load_state_dict(state["stream"])
        self._next_index = state["next_index"]
        self._held_row = state["held_row"]
        self.finished = state["finished"]
        self.rows_ended = state.get("rows_ended", False)  # older checkpoints lack it
        self._blocks = {int(i): Block(int(i), batches) for i, batches in state["blocks"].items()}
