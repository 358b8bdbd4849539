"""Make task scores comparable, without their scale (ours). K tasks.

A score is useful only beside those of the other tasks, and its scale is that of the gradients, the
learning rate and the model. So scores are centred, shrunk by how much of them is noise, and divided
by a running root mean square:

    c = h - (mean of h under q);    z = c / rms(c) * c^2 / (c^2 + se^2), clipped

with h = <v, grad L>, se its standard error, and q the shares of the tasks in the training loss: p
itself where p counts tokens; where it counts rows, c and se also take the factor by which a share
of rows becomes one of the loss (`tokens_of_a_share`). A score that is all noise moves little.
"""

from __future__ import annotations

import numpy as np


def centred(usefulness: np.ndarray, shares: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores over the mean of those measured; (K,), NaN where not.

    Args:
        usefulness: (K,) h, NaN where not measured.
        shares: (K,) of the tasks in the training loss.
        known: (K,) bool, measured along the same v; one or more.
    """
    weights = shares[known]
    return usefulness - (weights * usefulness[known]).sum() / weights.sum()


def loss_shares(proportions: np.ndarray, row_tokens: np.ndarray | None) -> np.ndarray:
    """(K,) shares of the tasks in the training loss, which is a mean over supervised tokens.

    Where proportions count rows, a task with long rows has the larger share in the loss:
    q_k = p_k n_k / sum_j p_j n_j.

    Args:
        proportions: (K,) p.
        row_tokens: (K,) n, mean supervised tokens of a row; None where proportions count tokens.
    """
    if row_tokens is None:
        return proportions
    weighted = proportions * row_tokens
    return weighted / weighted.sum()


def tokens_of_a_share(proportions: np.ndarray, row_tokens: np.ndarray | None) -> np.ndarray:
    """(K,) n_k / sum_j p_j n_j: how much more of the loss a task gets with its next bit of share.

    The chain rule through the lengths of rows (ours): with q as in `loss_shares`,
    dJ/dp_k = n_k / (sum_j p_j n_j) * (dJ/dq_k - sum_j q_j dJ/dq_j). 1 where proportions count
    tokens. For the arguments see `loss_shares`.
    """
    if row_tokens is None:
        return np.ones(len(proportions))
    return row_tokens / (proportions @ row_tokens)


def kept_share(scores: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """c^2 / (c^2 + se^2), the share of a score that is not noise; (K,) between 0 and 1.

    A score without a standard error (only one row seen, or an estimator that gives none) is shrunk
    as the others are on average, or not at all where none has one: to trust it fully would let the
    task that was seen least move most.

    Args:
        scores: (K,) centred, finite.
        errors: (K,) standard errors, NaN where unknown.
    """
    signal, noise = scores**2, errors**2
    total = np.where(signal + noise > 0, signal + noise, 1.0)
    share = np.where(signal + noise > 0, signal / total, 1.0)
    known = ~np.isnan(errors)
    return np.where(known, share, share[known].mean() if known.any() else 1.0)


class RunningScale:
    """Root of the running mean square of the centred scores, before they are shrunk: over their
    size after it, pure noise would be blown up to full steps again.

    Args:
        decay: share of the old mean square.
    """

    def __init__(self, decay: float) -> None:
        self.mean_square = 0.0
        self.updates = 0
        self._decay = decay

    def add(self, scores: np.ndarray) -> None:
        """Take in the centred scores of one meta step."""
        square = float((scores**2).mean())
        self.mean_square = self._decay * self.mean_square + (1 - self._decay) * square
        self.updates += 1

    @property
    def root(self) -> float:
        """The scale; 0 where every score so far was the same."""
        if self.updates == 0:
            return 0.0
        # As Adam's: without it the first scores would look larger than they are.
        return float(np.sqrt(self.mean_square / (1 - self._decay**self.updates)))
