"""What a model does to the logits of its head: a scale (Cohere, Granite), a soft cap (Gemma).

    z' = cap tanh(scale z / cap),    dz'/dz = scale (1 - (z' / cap)^2)

In place, because a chunk of logits is the largest tensor of a measurement. N tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LogitChange:
    """Each logit by itself.

    Attributes:
        scale: that they are multiplied by.
        cap: that their size stays below, or None.
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """z' of (..., V) logits, by autograd's means."""
        logits = logits if self.scale == 1 else logits * self.scale
        return self.cap * torch.tanh(logits / self.cap) if self.cap else logits

    def write_over(self, logits: Tensor) -> Tensor:
        """The (N, V) logits with z' in their place."""
        if self.scale != 1:
            logits.mul_(self.scale)
        if self.cap:
            logits.div_(self.cap).tanh_().mul_(self.cap)
        return logits

    def slopes(self, changed: Tensor) -> Tensor | float:
        """dz'/dz of (N, V) z'; one number where it is the same for all."""
        if not self.cap:
            return self.scale
        return (changed / self.cap).square_().neg_().add_(1).mul_(self.scale)


AS_THEY_ARE = LogitChange()


def change_of(model: nn.Module) -> LogitChange:
    """By the model's config."""
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return LogitChange(scale, getattr(config, "final_logit_softcapping", None) or None)
