"""Models with modules that are differentiated again for each row."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedModel

from tests.support.models import _COMMON, make_model, trained


def experts(**changes: Any) -> Any:
    """A Mixtral; its config as changed."""
    torch.manual_seed(0)
    keys = {"num_local_experts": 4, "num_experts_per_tok": 2, "attn_implementation": "eager"}
    config = MixtralConfig(**{**_COMMON, **keys, **changes})
    model: PreTrainedModel = MixtralForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def adapters_of_experts() -> Any:
    config = LoraConfig(
        r=2,
        target_modules=["q_proj"],
        target_parameters=["experts.gate_up_proj", "experts.down_proj"],
    )
    model = get_peft_model(experts(), config)
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)  # B starts at 0
    return model.eval()


class Straight(torch.autograd.Function):
    """Rounds; its backward is the identity."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return torch.round(values * 8) / 8

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


class Quantising(nn.Linear):
    """As layers of quantisation-aware training."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(Straight.apply(input), Straight.apply(self.weight), self.bias)


def quantising() -> Any:
    model = make_model("llama")
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and name != "lm_head":
                layer = Quantising(child.in_features, child.out_features, bias=False)
                layer.load_state_dict(child.state_dict())
                setattr(module, name, layer)
    return model


MAKE = {"experts": experts, "adapters": adapters_of_experts, "quantising": quantising}
