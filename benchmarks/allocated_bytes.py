"""The bytes that a piece of work holds at its peak, counted and not estimated.

On a CPU PyTorch's allocator tells its profiler of every block that it hands out and takes back,
those inside of kernels too; on a GPU the allocator keeps its own peak.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object], device: str = "cpu") -> int:
    """Most bytes held at once during `work`, beyond those held before it."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    results = found.profiler.kineto_results  # type: ignore[union-attr]
    blocks = [one for one in results.events() if one.name() == "[memory]"]
    held = most = 0
    for block in sorted(blocks, key=lambda one: one.start_ns()):
        held += block.nbytes()
        most = max(most, held)
    return most
