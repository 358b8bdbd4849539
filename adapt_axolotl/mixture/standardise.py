"""Make task scores comparable, without their scale (ours). K tasks.

A score is useful only beside those of the other tasks, and its scale is that of the gradients, the
learning rate and the model. So scores are centred, shrunk by how much of them is noise, and divided
by a running root mean square:

    c = h - (mean of h under p);    z = c / rms(c) * c^2 / (c^2 + se^2), clipped

with h = <v, grad L> and se its standard error. A score that is all noise moves little.
"""

from __future__ import annotations

import numpy as np


def centred(usefulness: np.ndarray, proportions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores over the mean of the known ones under p; (K,), NaN where never measured.

    Args:
        usefulness: (K,) h, NaN where never measured.
        proportions: (K,) p.
        known: (K,) bool, measured once at least; one or more.
    """
    shares = proportions[known]
    return usefulness - (shares * usefulness[known]).sum() / shares.sum()


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
