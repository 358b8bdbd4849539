"""Which module uses which trained parameters, so that a hook on it sees all that they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

# PEFT's adapters of a parameter that is no linear layer's, such as experts'.
PARAM_WRAPPER = "ParamWrapper"


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Those that it uses itself: PEFT's adapters of a weight hold theirs in modules that are never
    called. Adapters of two weights of one module are one inside the other, and none computes what
    it does without those around it."""
    if type(module).__name__ == PARAM_WRAPPER:
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
        if type(module).__name__ == PARAM_WRAPPER
        for part, inner in module.named_children()
        if part.startswith("lora_") or type(inner).__name__ == PARAM_WRAPPER
    )
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if any(id(parameter) in trained for _, parameter in own_parameters(module))
        and not name.startswith(within)
    }
