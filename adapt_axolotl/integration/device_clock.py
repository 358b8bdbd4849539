"""The clock of `timing.json`."""

from __future__ import annotations

import time

import torch


def now() -> float:
    """Seconds, from any start, once a GPU has done all that it was given: it runs behind the
    program, so that what is timed next would pay for what came before."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
