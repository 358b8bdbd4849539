"""What training on each task does to the loss of each target, and what of it is chance. K tasks, J
targets, rows in A groups a target and B a task.

A token of task k, trained on in a step of n tokens, moves the parameters by -D grad l / n, with D
how far the optimizer moves each of them. To first order it lowers the loss of target j by

    e_kj = <grad V_j, D grad L_k> / n           V_j, L_k: token means over the rows

as TracIn (arXiv 2002.08484) has it for plain gradient descent and LESS (arXiv 2402.04333) for
Adam. Both sides are token means over rows, so e_kj is a product of two ratios, R = S_kj / (N_j N_k)
with S the product of sums and N tokens. How far it would be another with other rows is told by
groups of rows, as for the error of a ratio (Cochran, Sampling Techniques, 1977, 6.3):

    a-th group of the target's rows    z_a = (S_kj of it) / (N_j N_k) - R (N_j of it) / N_j
    variance over them                 A / (A - 1) sum_a z_a^2

and so over the groups of the task's rows; their sum is the variance of e_kj (what both share is
counted twice, so it is rather too large). Sums of effects over checkpoints and differences between
tasks are sums of the z, in which rows that are read again are seen as the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

# Of the differences that are said to be told from noise, so many are chance, on average.
FALSE_SHARE = 0.05


@dataclass(frozen=True)
class Effects:
    """Attributes:
    values: (K, J).
    by_target_rows: (A, K, J) z, which add up to 0 over A.
    by_task_rows: (B, K, J).
    """

    values: np.ndarray
    by_target_rows: np.ndarray
    by_task_rows: np.ndarray

    def above_average(self, shares: np.ndarray) -> Effects:
        """What each task does beyond the average of all. shares: (K,), add up to 1."""
        return Effects(*(one - _average(one, shares) for one in self._parts))

    def average(self, shares: np.ndarray) -> Effects:
        """The average of all tasks, (1, J). shares: (K,), add up to 1."""
        return Effects(*(_average(one, shares) for one in self._parts))

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.values, self.by_target_rows, self.by_task_rows

    @property
    def errors(self) -> np.ndarray:
        """(K, J) standard errors over the draw of rows."""
        errors: np.ndarray = np.sqrt(sum(self._variances))
        return errors

    @property
    def freedom(self) -> np.ndarray:
        """(K, J) degrees of freedom of the errors (Satterthwaite, 1946)."""
        target, task = self._variances
        squares = target**2 / (len(self.by_target_rows) - 1)
        squares = squares + task**2 / (len(self.by_task_rows) - 1)
        least = min(len(self.by_target_rows), len(self.by_task_rows)) - 1
        with np.errstate(invalid="ignore"):
            found = (target + task) ** 2 / squares
        return np.where(squares > 0, found, least)

    @property
    def _variances(self) -> tuple[np.ndarray, np.ndarray]:
        target, task = (
            len(groups) / (len(groups) - 1) * (groups**2).sum(axis=0)
            for groups in (self.by_target_rows, self.by_task_rows)
        )
        return target, task

    def told_from_noise(self) -> np.ndarray:
        """(K, J) bool: which are not 0, so that of those named `FALSE_SHARE` are chance on average
        (Benjamini and Hochberg, 1995, over all of them together)."""
        errors = self.errors
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(self.values == 0, 0.0, np.abs(self.values) / errors)
        chances = 2 * stats.t.sf(distance, self.freedom)
        adjusted = stats.false_discovery_control(chances.ravel()).reshape(chances.shape)
        told: np.ndarray = adjusted <= FALSE_SHARE
        return told


def _average(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Over the tasks, which stay as one. values: (..., K, J)."""
    average: np.ndarray = np.einsum("k,...kj->...j", shares, values)[..., None, :]
    return average


def of_group_products(
    products: np.ndarray, target_tokens: np.ndarray, task_tokens: np.ndarray
) -> Effects:
    """Of one checkpoint: the fall of V_j for a step of D grad L_k.

    Args:
        products: (J, A, K, B) S.
        target_tokens: (J, A) N, above 0.
        task_tokens: (K, B) N, above 0.
    """
    of_target, of_task = target_tokens.sum(axis=1), task_tokens.sum(axis=1)
    ratios = products / (of_target[:, None, None, None] * of_task[None, None, :, None])
    whole = ratios.sum(axis=(1, 3))  # (J, K)
    by_target = (
        ratios.sum(axis=3) - whole[:, None] * (target_tokens / of_target[:, None])[..., None]
    )
    by_task = ratios.sum(axis=1) - whole[..., None] * (task_tokens / of_task[:, None])[None]
    return Effects(whole.T, by_target.transpose(1, 2, 0), by_task.transpose(2, 1, 0))


def summed(effects: Sequence[Effects], weights: Sequence[float]) -> Effects:
    """Over checkpoints. Groups of the same number hold the same rows, or others of the same part of
    all rows."""
    return Effects(
        *(
            sum(weight * part for weight, part in zip(weights, parts, strict=True))
            for parts in zip(*(one._parts for one in effects), strict=True)
        )
    )
