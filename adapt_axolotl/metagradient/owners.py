"""Which module uses which trained parameters, so that a hook on it sees all that they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from adapt_axolotl.metagradient.backward_rules import rule_of
from adapt_axolotl.metagradient.by_rows import acts_on_rows, mixes_tokens

# PEFT's adapters of a parameter that is no linear layer's, such as experts'.
PARAM_WRAPPER = "ParamWrapper"


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Those that it uses itself: PEFT's adapters of a weight hold theirs in modules that are never
    called. Adapters of two weights of one module are one inside the other, and none computes what
    it does without those around it. Mamba and its like use all that are inside of them, where one
    of these has no rule of its own."""
    if _uses_all_inside(module):
        yield from module.named_parameters()
    elif type(module).__name__ == PARAM_WRAPPER:
        for name, inner in module.named_children():
            if name.startswith("lora_"):
                yield from inner.named_parameters(prefix=name)
            elif type(inner).__name__ == PARAM_WRAPPER:
                yield from ((f"{name}.{key}", one) for key, one in own_parameters(inner))
    else:
        yield from module.named_parameters(recurse=False)


def owners_of(model: nn.Module, parameters: Sequence[nn.Parameter]) -> dict[str, nn.Module]:
    """The modules that own trained parameters directly; a tied one has several owners."""
    trained = {id(parameter) for parameter in parameters}
    within = tuple(
        f"{name}.{part}"
        for name, module in model.named_modules()
        for part, inner in module.named_children()
        if _uses_all_inside(module)
        or (type(module).__name__ == PARAM_WRAPPER and part.startswith("lora_"))
        or (type(module).__name__ == type(inner).__name__ == PARAM_WRAPPER)
    )
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if any(id(parameter) in trained for _, parameter in own_parameters(module))
        and not name.startswith(within)
    }


def _uses_all_inside(module: nn.Module) -> bool:
    return (
        mixes_tokens(module)
        and acts_on_rows(module)
        and any(
            parameter.requires_grad
            for inner in module.modules()
            if inner is module or (rule_of(inner) is None and not acts_on_rows(inner))
            for parameter in inner.parameters(recurse=False)
        )
    )
