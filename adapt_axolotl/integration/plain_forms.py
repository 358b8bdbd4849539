"""For the step that is read: the model's plain forms in place of kernels that go around modules.

Axolotl sets its LoRA kernels as attributes of modules, which call them in place of their own code:

    attention: apply_qkv, apply_o                          the projections, one after the other
    linear attention: apply_in_proj_fused, apply_out_proj  absent; its forward then calls them
    MLP, embedding: forward                                absent; the class's own then runs

Both forms compute the same function of the same parameters; the kernels come back afterwards. A
kernel that is not in this list stays, and the reader tells of the module that it goes around.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn

from adapt_axolotl.integration import compat

ATTENTION = ("apply_qkv", "apply_o")
LINEAR_ATTENTION = ("apply_in_proj_fused", "apply_out_proj")
FORWARDS = ("apply_lora_mlp_swiglu", "apply_lora_mlp_geglu", "apply_lora_embedding")


@contextlib.contextmanager
def plain_forms(model: nn.Module, *, compiled: bool = False) -> Iterator[None]:
    """Within it, and in the backwards that end within it, all modules are called.

    Args:
        model: the trained module.
        compiled: it is compiled, or its layers are; within the context they run as written.
    """
    kernels = [
        (module, name, module.__dict__[name])
        for module in model.modules()
        for name in (*ATTENTION, *LINEAR_ATTENTION, "forward")
        if name in module.__dict__
    ]
    kernels = [one for one in kernels if one[1] != "forward" or _is_lora_kernel(one[2])]
    as_written = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
    with as_written:
        try:
            for module, name, _ in kernels:
                if name in ATTENTION:
                    module.__dict__[name] = _plain(module, name)
                else:
                    del module.__dict__[name]
            yield
        finally:
            for module, name, kernel in kernels:
                module.__dict__[name] = kernel


def _is_lora_kernel(forward: Any) -> bool:
    function = getattr(forward, "__func__", None)
    # Where the kernels were never imported none can be set, and they may not be importable.
    named = function is not None and function.__module__ == "axolotl.kernels.lora"
    return named and any(function is getattr(compat, name) for name in FORWARDS)


def _plain(attention: nn.Module, name: str) -> MethodType:
    if name == "apply_o":
        return MethodType(compat.original_apply_o, attention)
    if getattr(attention, "v_proj", None) is None:  # values are the keys
        return MethodType(compat.original_apply_qkv_optional_v, attention)
    return MethodType(compat.original_apply_qkv, attention)
