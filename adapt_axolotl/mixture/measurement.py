"""What a meta step measured of the tasks, in one form whatever was measured. K tasks.

Two things can be measured. Gradient products h_k = <v, grad L_k> give dJ/dp_k directly; a mean over
shares is what the mixture as a whole is worth.

Falls f_k are those of the losses V_k. A task that is taught by its own n_k tokens, with losses that
fall as their logarithm, V_k = a_k - f_k log n_k, makes sum_k w_k V_k, for the weights w of the
objective, fall by w_k f_k / p_k for a bit of its share. We take that at the initial shares (ours)

    h_k = w_k f_k / p0_k

so that it stands for the same thing whatever the shares are now, and the best mixture is in
proportion to p0_k h_k. (Where falls are over a stretch of the run and not over the task's own
tokens, `measure: loss_falls`, that holds while shares are steady.) It is exact as well where tasks
help each other mutually (the fall of j by tokens of k is that of k by tokens of j, as along one
gradient step) with weights like their shares, w ~ p0. Its mean over shares, sum_k w_k f_k, is what
training on the mixture did, always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapt_axolotl.mixture.observed import LARGEST
from adapt_axolotl.mixture.standardise import centred, loss_shares, tokens_of_a_share

# A mixture that lowers the objective by less than so many standard errors says nothing about its
# parts: they could not be told as multiples of it.
BEYOND_NOISE = 2.0

# Of returns: what is larger, or known more precisely, is an artefact of numbers.
LARGEST_RETURN = 1e6
LEAST_ERROR = 1e-3


@dataclass(frozen=True)
class Measurement:
    """Arrays are (K,); NaN where a task was not measured.

    Attributes:
        advantages: what a bit of share of the task is worth over a bit of the whole mixture.
        errors: their standard errors over the draw of rows; NaN where unknown.
        shares: of the tasks in the mean.
        mean: what a bit of the whole mixture is worth, in the same unit.
        mean_error: its standard error; 0 where unknown.
    """

    advantages: np.ndarray
    errors: np.ndarray
    shares: np.ndarray
    mean: float
    mean_error: float

    @property
    def measured(self) -> np.ndarray:
        """(K,) bool."""
        measured: np.ndarray = np.isfinite(self.advantages)
        return measured

    def worths(self, *, errors_known: bool) -> tuple[np.ndarray, np.ndarray]:
        """(what a bit of share of each task is worth, standard errors), (K,), NaN where not
        measured. A task without an error gets the median of the others, `LEAST_ERROR` of the mean
        where none has one. errors_known: each error is taken as it is; else they come from a
        handful of rows, and their scale is found from repeated measurements."""
        least = LEAST_ERROR * abs(self.mean)
        # Of a handful of rows, an error of almost 0 is chance.
        known = self.measured & (self.errors >= (0 if errors_known else least))
        typical = float(np.median(self.errors[known])) if known.any() else least
        errors = np.where(known, np.maximum(self.errors, least), typical)
        if not errors_known:
            # A handful of rows tells an error poorly: half is what is typical (in squares).
            errors = np.sqrt((errors**2 + typical**2) / 2)
        return self.advantages + self.mean, np.where(self.measured, errors, np.nan)

    def returns(self, *, errors_known: bool) -> tuple[np.ndarray, np.ndarray]:
        """`worths` as multiples of the mixture's own: 1 as much, 0 nothing, less harms. NaN for all
        where that is within noise."""
        nothing = np.full(len(self.advantages), np.nan)
        if not max(BEYOND_NOISE * self.mean_error, 1 / LARGEST) < self.mean < LARGEST:
            return nothing, nothing
        worths, errors = self.worths(errors_known=errors_known)
        values = worths / self.mean
        # A multiple beyond any sense is a division by almost nothing.
        values = np.where(np.abs(values) < LARGEST_RETURN, values, np.nan)
        # The error of a task is in the mean too: where it is alone in it, the multiple is certain.
        own = self.shares * np.where(np.isfinite(values), errors, 0.0)
        others = np.maximum(0.0, self.mean_error**2 - own**2)
        squares = (errors - own * values) ** 2 + values**2 * others
        return values, np.where(np.isfinite(values), np.sqrt(squares) / self.mean, np.nan)


def of_products(
    inner_products: np.ndarray,
    standard_errors: np.ndarray,
    measured: np.ndarray,
    proportions: np.ndarray,
    row_tokens: np.ndarray | None,
) -> Measurement:
    """From gradient products.

    Args:
        inner_products: (K,) h.
        standard_errors: (K,), NaN where unknown.
        measured: (K,) bool, two or more.
        proportions: (K,) p.
        row_tokens: (K,) mean supervised tokens of a row, where proportions count rows; else None.
    """
    per_share = tokens_of_a_share(proportions, row_tokens)
    shares = np.where(measured, loss_shares(proportions, row_tokens), 0.0)
    shares = shares / shares.sum()
    advantages = per_share * centred(inner_products, shares, measured)
    mean = float((shares * np.where(measured, inner_products, 0.0)).sum())
    mean_error = float(np.sqrt(((shares * _known(standard_errors, measured)) ** 2).sum()))
    return Measurement(
        np.where(measured, advantages, np.nan),
        np.where(measured, per_share * standard_errors, np.nan),
        shares,
        mean,
        mean_error,
    )


def _known(errors: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(K,) errors, in the place of unknown ones the root mean square of the others, or 0 where none
    is known; 0 for tasks that were not measured."""
    known = measured & np.isfinite(errors)
    typical = float(np.sqrt((errors[known] ** 2).mean())) if known.any() else 0.0
    return np.where(known, errors, np.where(measured, typical, 0.0))


def of_falls(
    falls: np.ndarray,
    standard_errors: np.ndarray,
    measured: np.ndarray,
    weights: np.ndarray,
    initial: np.ndarray,
    row_tokens: np.ndarray | None,
) -> Measurement:
    """From falls of the losses. Shares are those of the training loss; where proportions count
    rows, the best of them stand to the initial ones as the best shares of the loss do.

    Args:
        falls: (K,) f.
        standard_errors: (K,).
        measured: (K,) bool, two or more.
        weights: (K,) w.
        initial: (K,) p0, all above 0.
        row_tokens: (K,) mean supervised tokens of a row, where proportions count rows; else None.
    """
    part = np.where(measured, weights * falls, 0.0)
    errors = np.where(measured, weights * standard_errors, np.nan)
    p0 = np.where(measured, loss_shares(initial, row_tokens), 1.0)
    mean = float(part.sum() / p0[measured].sum())
    return Measurement(
        np.where(measured, part / p0 - mean, np.nan),
        errors / p0,
        np.where(measured, p0, 0.0) / p0[measured].sum(),
        mean,
        float(np.sqrt(np.nansum(errors**2)) / p0[measured].sum()),
    )
