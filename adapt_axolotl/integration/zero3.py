"""Measuring a model whose parameters DeepSpeed ZeRO-3 shards."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

from adapt_axolotl.integration.compat import is_deepspeed_zero3_enabled
from adapt_axolotl.integration.installed import check_zero3

if TYPE_CHECKING:
    from adapt_axolotl.integration.compat import HfDeepSpeedConfig

# Keys under `zero_optimization`, and which of their values leave a process without its part of the
# parameters in memory, or with a copy of it that a change would not reach.
_OTHER_PARTS = {
    "offload_param.device": lambda device: device == "nvme",
    "zero_hpz_partition_size": lambda size: size > 1,
    "mics_shard_size": lambda size: size > 0,
}


def refuse_other_parts(deepspeed_config: HfDeepSpeedConfig) -> None:
    """
    Args:
        deepspeed_config: as Transformers holds it.

    Raises:
        ValueError: it lays out parameters in a way that gradient products were not made for.
    """
    for key, other in _OTHER_PARTS.items():
        value = deepspeed_config.get_value(f"zero_optimization.{key}")
        if value is not None and other(value):
            raise ValueError(
                f"deepspeed: zero_optimization.{key}: {value} keeps parameters in a way that "
                "gradient products were not made for; remove it, or adapt.learned.measure: "
                "products or mixture: doge"
            )


def refuse_experts_in_lists(model: nn.Module) -> None:
    """Gradients are summed over the processes one by one, as a backward has them. A process on
    which an expert got no token has none of it, so the others would wait, or get another expert's
    for it. Training goes on there: it sums a block of experts as one (`set_z3_leaf_modules`).

    Args:
        model: the trained module.

    Raises:
        ValueError: trained experts are modules of their own.
    """
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        experts = isinstance(module, nn.ModuleList) and "expert" in last and "shared" not in last
        if experts and any(parameter.requires_grad for parameter in module.parameters()):
            raise ValueError(
                f"deepspeed: under ZeRO-3 gradient products sum the gradient of each of {name} "
                "over the processes, and a process runs only those experts that its tokens chose; "
                "remove adapt.learned.measure: products or mixture: doge, or set stage: 2"
            )


@contextlib.contextmanager
def measured_in_parts(engine: Any) -> Iterator[None]:
    """A context in which the model can be measured, forward and backward, as its processes hold it:
    DeepSpeed's hooks gather a module for as long as it computes, as in training. No process ever
    holds all of it, and all of them must run as many forwards.

    Each forward takes the parts as they are then: what an earlier one, or training, has left whole
    is let go before it. So parts may be changed in between, and the training forward after the last
    one sees what they have become.

    Args:
        engine: the model as DeepSpeed wraps it; any model where ZeRO-3 is not in use.
    """
    if not is_deepspeed_zero3_enabled():
        yield
        return
    check_zero3(engine)

    def let_go(*_: Any) -> None:
        engine.optimizer.empty_partition_cache()

    handle = engine.module.register_forward_pre_hook(let_go, prepend=True)
    try:
        with _gradients_unaccounted(engine.module):
            yield
    finally:
        handle.remove()
        let_go()


@contextlib.contextmanager
def _gradients_unaccounted(model: Any) -> Iterator[None]:
    """DeepSpeed accounts for gradients where they are added to `.grad`, which measuring never does,
    but for those of a module that it gathers as one (experts): there in a hook on its backward."""
    gathered_as_one = [one for one in model.modules() if getattr(one, "_z3_leaf", False)]
    hooks = [one._backward_hooks for one in gathered_as_one]
    for one in gathered_as_one:
        one._backward_hooks = OrderedDict()
    try:
        yield
    finally:
        for one, of_training in zip(gathered_as_one, hooks, strict=True):
            one._backward_hooks = of_training
