"""Small models in float64 whose tokens see others by a convolution or a decaying state, and which
have a few numbers that nothing reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from tests.support.models import make_exact_model

HIDDEN = 16
VOCABULARY = 61


class ShortConv(nn.Module):
    """A convolution over two tokens, then a sum that decays over those before. As kernels do it:
    what its inner modules have is used here, and none of them is called. Packed rows are apart
    where positions tell of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(HIDDEN, HIDDEN, 2, groups=HIDDEN)
        self.log_decay = nn.Parameter(torch.zeros(HIDDEN))
        self.out_proj = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        starts = torch.zeros_like(x[..., 0]) if position_ids is None else position_ids == 0
        row = starts.long().cumsum(1)
        together = (row[:, :, None] == row[:, None, :]).to(x).tril()  # (B, T, T)
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        beside = torch.cat([together[:, :1, 0] * 0, together.diagonal(-1, 1, 2)], 1)[..., None]
        kernel = self.conv.weight[:, 0]
        mixed = before * beside * kernel[:, 0] + x * kernel[:, 1] + self.conv.bias
        places = torch.arange(x.shape[1])
        ages = (places[:, None] - places).clamp(min=0)[..., None]
        decays = torch.exp(-torch.exp(self.log_decay) * ages)  # (T, T, H)
        state = torch.einsum("bts,tsh,bsh->bth", together, decays, mixed)
        return linear(state, self.out_proj.weight, self.out_proj.bias)


class Temper(nn.Module):
    """One number, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.strength * x.mean(-1, keepdim=True))


class Mixing(nn.Module):
    """Embeddings, a mixer, an MLP and a head.

    Args:
        rows_apart: the mixer is told of positions.
    """

    def __init__(self, *, rows_apart: bool = True) -> None:
        super().__init__()
        self.rows_apart = rows_apart
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.mixer = ShortConv()
        self.up = nn.Linear(HIDDEN, HIDDEN)
        self.temper = Temper()
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Any:
        states = self.embed(input_ids)
        states = states + self.mixer(states, position_ids if self.rows_apart else None)
        states = states + self.temper(gelu(self.up(states)))
        return SimpleNamespace(logits=self.head(states))


def mixing(**keys: Any) -> Mixing:
    torch.manual_seed(4)
    model = Mixing(**keys).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


class Convolved(nn.Module):
    """A layer with a short convolution over tokens, for which no module hook has a rule."""

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.conv = nn.Conv1d(size, size, 2, padding=1, groups=size)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        output: Tensor = self.inner(x) + mixed
        return output


def convolution() -> nn.Module:
    model = make_exact_model("llama")
    torch.manual_seed(3)
    model.model.layers[0].mlp = Convolved(model.model.layers[0].mlp, 32).double()
    return model
