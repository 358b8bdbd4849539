"""The sampler over 1,000 tasks and 10 million rows: index arrays, no model.

python benchmarks/many_rows.py [tasks] [rows]
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.sampling.batches import BlockShape, MixtureBatchSampler
from adapt_axolotl.sampling.stream import TaskStream


def main(tasks: int = 1000, rows: int = 10_000_000) -> None:
    rng = np.random.default_rng(0)
    # Sizes over three orders of magnitude, as collections of instruction data have them.
    sizes = np.exp(rng.uniform(0, np.log(1000), tasks))
    task_of_row = rng.choice(tasks, rows, p=sizes / sizes.sum()).astype(np.int32)
    task_of_row[:tasks] = np.arange(tasks)
    tokens = rng.integers(1, 400, rows).astype(np.int32)
    names = tuple(f"task_{number}" for number in range(tasks))

    # The peak so far is that of making the arrays; from here on it counts anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = peak()
    started = time.perf_counter()
    pools = TaskPools(names, task_of_row, tokens, tokens)
    ledger = TokenLedger(pools, int(pools.available_tokens.sum()), charge_meta_tokens=False)
    shares = np.full(tasks, 1 / tasks)
    stream = TaskStream(pools, unit="tokens", seed=0)
    sampler = MixtureBatchSampler(stream, lambda: shares, BlockShape(1, 64), ledger)
    sampler.block(0)
    construction = time.perf_counter() - started

    started = time.perf_counter()
    steps = 1000
    for step in range(1, steps):
        ledger.commit(sampler.commit(step - 1).rows())
        assert sampler.block(step) is not None
    drawing = time.perf_counter() - started
    state = json.dumps({"sampler": sampler.state_dict(), "ledger": ledger.state_dict()})
    arrays = task_of_row.nbytes + 2 * tokens.nbytes
    print(f"{tasks:,} tasks, {rows:,} rows")
    print(f"construction with the first step: {construction:.2f} s")
    print(f"draws: {(steps - 1) * 64 / drawing:,.0f} rows/s")
    print(f"memory beside the three index arrays ({arrays / rows:.0f} bytes/row): ", end="")
    print(f"{(peak() - before) / rows:.1f} bytes/row at the peak")
    print(f"sampler and ledger in a checkpoint: {len(state) / 1024:.0f} KiB")


def peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
