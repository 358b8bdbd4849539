"""The gradient of the whole meta objective in the logits; K tasks.

J(a) = worst case of V(theta'(p)) - lambda H(p), p = softmax(a): ADAPT (arXiv 2512.04555).
"""

from __future__ import annotations

import torch
from torch import Tensor


def logit_gradient(proportions: Tensor, scores: Tensor, entropy_weight: float) -> Tensor:
    """dJ/da_i = p_i (s_i - sum_j p_j s_j) + lambda p_i (log p_i + H(p)), (K,).

    The learned mixture steps in the natural geometry of the simplex instead (this without the
    factor p_i, scores standardised); this exact form is what numerical differentiation checks.

    Args:
        proportions: (K,) p, positive.
        scores: (K,) s_k = dJ/dp_k through theta' = -eta <v, grad L_k>.
        entropy_weight: lambda.
    """
    log_p = torch.log(proportions)
    entropy = -(proportions * log_p).sum()
    centred = scores - (proportions * scores).sum()
    return proportions * centred + entropy_weight * proportions * (log_p + entropy)
