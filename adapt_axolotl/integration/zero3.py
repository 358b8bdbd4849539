"""Whole parameters on every process under DeepSpeed ZeRO-3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from adapt_axolotl.integration.compat import add_hooks, is_deepspeed_zero3_enabled, remove_hooks


@contextlib.contextmanager
def whole_parameters(engine: Any) -> Iterator[None]:
    """A context in which every process holds the whole parameters: under ZeRO-3 they are gathered
    once, instead of layer by layer in step with the other processes, whose rows are others.

    TRL's own context for this also switches gradient checkpointing off and on again with other
    settings than the recipe's; nothing is switched here.

    Args:
        engine: the model as DeepSpeed wraps it; any model where ZeRO-3 is not in use.
    """
    if not is_deepspeed_zero3_enabled():
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.parameters())):
        # DeepSpeed's hooks would gather and release parameters that are whole already.
        remove_hooks(engine)
        try:
            yield
        finally:
            add_hooks(engine)
