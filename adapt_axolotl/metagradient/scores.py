"""Task scores from row scores. R rows, K tasks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapt_axolotl.metagradient.ranks import Reduce, single_process


@dataclass(frozen=True)
class TaskScores:
    """What an estimator gives.

    Attributes:
        inner_products: (K,) float64, <v, grad L_k>, L_k the token mean over the rows seen of task
            k; NaN for a task not seen.
        standard_errors: (K,) float64, of the inner products over the draw of rows; NaN with fewer
            than two rows, or where the estimator gives no value of single rows.
        rows: (K,) int64, rows seen.
    """

    inner_products: Tensor
    standard_errors: Tensor
    rows: Tensor


def scores_from_rows(
    products: Tensor,
    tokens: Tensor,
    task_of_row: Tensor,
    num_tasks: int,
    reduce: Reduce = single_process,
) -> TaskScores:
    """Ratio estimates r_k = sum_i x_i / sum_i n_i over the rows i of task k (and all ranks).

    The standard error is the usual one of a ratio estimate (Cochran, Sampling Techniques, 1977,
    6.3): sqrt( m/(m-1) sum_i (x_i - r n_i)^2 ) / sum_i n_i over m rows.

    Args:
        products: (R,) x_i = <v, grad of the sum of row i's token losses>.
        tokens: (R,) n_i, how many tokens that sum is over.
        task_of_row: (R,).
        num_tasks: K.
        reduce: adds over the ranks.
    """
    x, n = products.double(), tokens.double()
    moments = torch.stack([torch.ones_like(x), x, n, x * x, x * n, n * n])
    sums = x.new_zeros(6, num_tasks).index_add(1, task_of_row, moments)
    m, sum_x, sum_n, sum_xx, sum_xn, sum_nn = reduce(sums)
    ratio = sum_x / sum_n
    residual = (sum_xx - 2 * ratio * sum_xn + ratio**2 * sum_nn).clamp(min=0)
    errors = (residual * m / (m - 1)).sqrt() / sum_n
    return TaskScores(ratio, torch.where(m > 1, errors, torch.nan), m.long())
