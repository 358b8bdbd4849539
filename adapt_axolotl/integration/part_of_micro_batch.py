"""One of several backwards that stand for that of a micro-batch: when gradients are reduced over
the processes, and when the optimizer may step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def part_of_micro_batch(accelerator: Any, model: Any, *, last: bool) -> Iterator[None]:
    """Around the forward and backward of one part, within Trainer's context of the micro-batch.

    FSDP2 reduces the gradient of each part, whether or not it would reduce that of the micro-batch:
    only then does the part's show in `.grad`. All else goes on as Trainer wants it with the last
    part, and accumulates until then.

    Args:
        accelerator: Trainer's.
        model: as wrapped for the processes.
        last: it is the micro-batch's last part.
    """
    if accelerator.is_fsdp2:
        model.set_requires_gradient_sync(True)  # Trainer's context ends with it switched on too
        yield
        return
    if last:
        yield
        return
    state = accelerator.gradient_state
    syncs = state.sync_gradients
    # What DeepSpeed's engine is asked: with it, it steps.
    state._set_sync_gradients(False)
    try:
        with accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(syncs)
