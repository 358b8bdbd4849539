"""Draw training rows by a mixture, one optimizer step at a time.

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
from typing import Any, Literal

import numpy as np
from torch.utils.data import BatchSampler

from adapt_axolotl.budget import TokenLedger
from adapt_axolotl.pools import TaskPools

Unit = Literal["tokens", "examples"]
MicroBatch = list[int] | list[list[int]]


def rows_of(micro_batch: MicroBatch) -> list[int]:
    """The rows of a micro-batch in the order of its tokens, plain or packed."""
    return [row for entry in micro_batch for row in (entry if isinstance(entry, list) else [entry])]


class TaskStream:
    """An endless, seeded stream of rows whose task shares follow given proportions.

    Largest credit first (ours): after a draw of w units (the row's supervised tokens, or 1 for
    `unit="examples"`) every task earns p_k * w and the drawn task pays w. Credits stay bounded, so
    over any stretch task k gets its share p_k to within about one row, for changing proportions
    too; independent draws would be off by the square root of their number. Start credits are
    random phases from the seed, which spreads the first draws by seed instead of by task number.
    Within a task rows come in a new seeded order each pass.

    Args:
        pools: the rows to draw from.
        unit: what a share counts.
        seed: of the start credits and the row orders.
        max_repeats: passes over a task's pool after which it gives no more rows; its share goes to
            the others in proportion.
        ordered: take the tasks in turn (round robin) instead.
    """

    def __init__(
        self,
        pools: TaskPools,
        *,
        unit: Unit,
        seed: int,
        max_repeats: float | None = None,
        ordered: bool = False,
    ) -> None:
        self._pools = pools
        self._unit = unit
        self._seed = seed
        num_tasks = len(pools.tasks)
        sizes = pools.rows_of_task
        assert (sizes > 0).all(), "a task without rows is an error long before sampling"
        mean_units = pools.available_tokens / sizes if unit == "tokens" else np.ones(num_tasks)
        phases = np.random.default_rng([seed, 0]).random(num_tasks)
        self._credits = -phases * mean_units
        self._ordered = ordered
        self._drawn = np.zeros(num_tasks, dtype=np.int64)
        self._limit = None if max_repeats is None else np.maximum(1, sizes * max_repeats)
        self._orders: list[tuple[int, np.ndarray] | None] = [None] * num_tasks

    def draw(self, proportions: np.ndarray) -> int | None:
        """The next row, or None when every task has reached `max_repeats`.

        Args:
            proportions: (K,) shares, summing to 1.
        """
        open_tasks = proportions > 0
        if self._limit is not None:
            open_tasks &= self._drawn < self._limit
        if not open_tasks.any():
            return None
        urgency = -self._drawn.astype(np.float64) if self._ordered else self._credits
        task = int(np.argmax(np.where(open_tasks, urgency, -np.inf)))
        row = self._next_row(task)
        units = float(self._pools.supervised_tokens[row]) if self._unit == "tokens" else 1.0
        shares = np.where(open_tasks, proportions, 0.0)
        self._credits += shares / shares.sum() * units
        self._credits[task] -= units
        self._drawn[task] += 1
        return row

    def _next_row(self, task: int) -> int:
        rows = self._pools.rows(task)
        passes, place = divmod(int(self._drawn[task]), len(rows))
        order = self._orders[task]
        if order is None or order[0] != passes:
            rng = np.random.default_rng([self._seed, 1, task, passes])
            order = (passes, rng.permutation(len(rows)).astype(np.int32))
            self._orders[task] = order
        return int(rows[order[1][place]])

    def state_dict(self) -> dict[str, list]:
        """JSON-able, O(K): it does not grow with the rows."""
        return {"credits": self._credits.tolist(), "drawn": self._drawn.tolist()}

    def load_state_dict(self, state: dict[str, list]) -> None:
        self._credits = np.array(state["credits"], dtype=np.float64)
        self._drawn = np.array(state["drawn"], dtype=np.int64)


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
    """

    def __init__(
        self,
        stream: TaskStream,
        proportions: Callable[[], np.ndarray],
        shape: BlockShape,
        ledger: TokenLedger,
    ) -> None:
        # BatchSampler.__init__ would want an inner sampler; accelerate reads these two only.
        self.batch_size = shape.rows
        self.drop_last = True
        self._stream = stream
        self._proportions = proportions
        self._shape = shape
        self._ledger = ledger
        self._pools = ledger.pools
        self._blocks: dict[int, Block] = {}
        self._next_index = 0
        self._held_row: int | None = None
        self.finished = False

    def __len__(self) -> int:
        raise TypeError("a token budget has no number of batches before it is spent")

    def __iter__(self) -> Iterator[Any]:  # of MicroBatch; BatchSampler declares list[int]
        """From the first block that was not committed: after a resume, or when an epoch restarts
        and the loader has thrown a fetched batch away, nothing is lost or drawn twice."""
        index = min(self._blocks, default=self._next_index)
        while (block := self.plan(index)) is not None:
            yield from block.micro_batches
            index += 1

    def plan(self, index: int) -> Block | None:
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

    def _plain(self) -> list[MicroBatch] | None:
        micro_batches: list[MicroBatch] = []
        proportions = self._proportions()
        for _ in range(self._shape.micro_batches):
            rows: list[int] = []
            for _ in range(self._shape.rows):
                row = self._stream.draw(proportions)
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
        proportions = self._proportions()
        while True:
            row = self._held_row if self._held_row is not None else self._stream.draw(proportions)
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
            "blocks": {str(index): block.micro_batches for index, block in self._blocks.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.load_state_dict(state["stream"])
        self._next_index = state["next_index"]
        self._held_row = state["held_row"]
        self.finished = state["finished"]
        self._blocks = {int(i): Block(int(i), batches) for i, batches in state["blocks"].items()}
