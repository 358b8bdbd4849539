"""What repeated measurements of the tasks say, beside their noise. K tasks.

A task is measured again and again; each measurement y_kt of what a share of it is worth comes with
the standard error e_kt that its rows give it. Their scale is that of the gradients or losses of the
moment, so each meta step is divided by the root mean square of its errors. What the rows tell is
not all of the noise: what is measured swings and drifts between meta steps, and gradient products
have the noise of v beside that of their rows. So the errors are scaled up by how much successive
measurements of the same task really differ (the ratio of Birge, 1932). The means over meta steps
are taken as multiples of what the initial mixture p0 is worth, and not each measurement: at a
single moment that may be almost nothing. What is left is shrunk over tasks, as a meta-analysis with
random effects does:

    M_k     mean of y_kt, weighted by decay^age / e_kt^2
    phi     mean over k, t of (y_kt - y_k,t-1)^2 / (e_kt^2 + e_k,t-1^2), 1 at least
    m_k     M_k / sum_j p0_j M_j
    s_k^2   its variance: phi times that by the e_kt alone
    Q(t)    sum_k (m_k - m)^2 / (t + s_k^2), m the mean of the m_k weighted by 1 / (t + s_k^2)
            (Cochran, 1954, for t = 0)
    tau^2   variance of the tasks' true values: Q(tau^2) = q, 0 where Q(0) is less (Paule and
            Mandel, 1982)
    kept    tau^2 / (tau^2 + s_k^2)

q is the value that Q(0) stays below in 95 of 100 cases where all tasks are alike ((K - 1) times a
quantile of F, because phi is an estimate too), and not K - 1, which Q then has on average (ours):
without evidence nothing moves, and just above it little does. With tau^2 in the weights of the
mean, a task that is known far better than the others does not alone say what is common to all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from adapt_axolotl.mixture.measurement import BEYOND_NOISE, LEAST_ERROR
from adapt_axolotl.mixture.nan_as_null import as_array, as_list

# What Q is compared with.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Posterior:
    """What is believed about the tasks.

    Attributes:
        known: whether anything can be said.
        means: (K,) of what a share is worth over the mean, as a multiple of it: the common mean,
            and of each task's distance to it what is kept; the common mean for a task of which
            nothing is known, 0 for all where nothing is.
        deviations: (K,) (m_k - m) / s_k: how far a task stands out, in its own noise; NaN where it
            was measured less than twice.
        over_noise: sqrt(Q / (K - 1)): 1 where all differences are noise; NaN while nothing can be
            said, or of one task only.
    """

    known: bool
    means: np.ndarray
    deviations: np.ndarray
    over_noise: float


def nothing(count: int) -> Posterior:
    """What is believed of K tasks before anything can be said."""
    return Posterior(False, np.zeros(count), np.full(count, np.nan), float("nan"))


def shrunk(values: np.ndarray, variances: np.ndarray, freedom: int) -> Posterior:
    """What is left of the tasks' distances to their common mean.

    Args:
        values: (K,) m; NaN for a task of which nothing is known, one or more are.
        variances: (K,) s^2, above 0 where known.
        freedom: degrees of freedom from which their scale is known.
    """
    known = np.isfinite(values)
    found, noise = values[known], variances[known]
    others = len(found) - 1
    if not others:
        nowhere = np.full(len(values), np.nan)
        return Posterior(True, np.full(len(values), found[0]), nowhere, float("nan"))
    limit = others * float(stats.f.ppf(CONFIDENCE, others, freedom))
    q = heterogeneity(0.0, found, noise)
    between = 0.0
    if q > limit:
        # Q falls below any limit from where tau^2 alone explains the squares on.
        top = float(((found - found.mean()) ** 2).sum()) / limit
        between = float(optimize.brentq(lambda t: heterogeneity(t, found, noise) - limit, 0.0, top))
    mean = common_mean(between, found, noise)
    believed, deviations = np.full(len(values), mean), np.full(len(values), np.nan)
    believed[known] += between / (between + noise) * (found - mean)
    deviations[known] = (found - mean) / np.sqrt(noise)
    return Posterior(True, believed, deviations, float(np.sqrt(q / others)))


def common_mean(between: float, values: np.ndarray, variances: np.ndarray) -> float:
    """m, where the true values have the variance t = between. values, variances: (K,)."""
    return float(np.average(values, weights=1 / (between + variances)))


def heterogeneity(between: float, values: np.ndarray, variances: np.ndarray) -> float:
    """Q(t), t = between. values, variances: (K,)."""
    centred = values - common_mean(between, values, variances)
    return float((centred**2 / (between + variances)).sum())


class Evidence:
    """Pools measurements of K tasks.

    Args:
        count: K.
        decay: weight of what a task was measured at before, at each new measurement of it.
    """

    def __init__(self, count: int, decay: float) -> None:
        self._decay = decay
        self._weight = np.zeros(count)  # sum of decay^age / e^2
        self._square = np.zeros(count)  # sum of (decay^age)^2 / e^2
        self._sum = np.zeros(count)  # sum of decay^age y / e^2
        self._last = np.full(count, np.nan)
        self._last_error = np.full(count, np.nan)
        self._differences = 0.0  # sum of (y - last)^2 / (e^2 + last e^2)
        self._pairs = 0

    def add(self, values: np.ndarray, errors: np.ndarray) -> None:
        """Take in one meta step.

        Args:
            values: (K,) y in any scale, NaN for tasks that were not measured.
            errors: (K,) e where measured.
        """
        measured = np.isfinite(values)
        size = float(np.sqrt((values[measured] ** 2).mean())) if measured.any() else 0.0
        if not size > 0:
            return
        errors = np.maximum(errors, LEAST_ERROR * size)
        scale = float(np.sqrt((errors[measured] ** 2).mean()))
        values, errors = values / scale, errors / scale
        again = measured & np.isfinite(self._last)
        squares = (values - self._last)[again] ** 2
        self._differences += float((squares / (errors**2 + self._last_error**2)[again]).sum())
        self._pairs += int(again.sum())
        weight = np.where(measured, 1 / np.where(measured, errors, 1.0) ** 2, 0.0)
        keep = np.where(measured, self._decay, 1.0)
        self._weight = keep * self._weight + weight
        self._square = keep**2 * self._square + weight
        self._sum = keep * self._sum + weight * np.where(measured, values, 0.0)
        self._last = np.where(measured, values, self._last)
        self._last_error = np.where(measured, errors, self._last_error)

    @property
    def overdispersion(self) -> float:
        """phi; 1 while no task was measured twice."""
        return max(1.0, self._differences / self._pairs) if self._pairs else 1.0

    def posterior(self, initial: np.ndarray) -> Posterior:
        """Of all that was taken in. initial: (K,) p0."""
        count = len(self._weight)
        known = self._weight > 0
        # By one measurement of each task, noise cannot be told from differences.
        if known.sum() < 2 or self._pairs < known.sum():
            return nothing(count)
        means = np.full(count, np.nan)
        means[known] = self._sum[known] / self._weight[known]
        variances = self.overdispersion * self._square / np.where(known, self._weight, 1.0) ** 2
        shares = initial[known] / initial[known].sum()
        mean = float(shares @ means[known])
        if mean <= BEYOND_NOISE * float(np.sqrt(shares**2 @ variances[known])):
            return nothing(count)
        return shrunk(means / mean - 1, variances / mean**2, self._pairs)

    _ARRAYS = ("_weight", "_square", "_sum", "_last", "_last_error")

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; floats come back to the bit, NaN as null."""
        state: dict[str, Any] = {"differences": self._differences, "pairs": self._pairs}
        for name in self._ARRAYS:
            state[name.strip("_")] = as_list(getattr(self, name))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._differences, self._pairs = state["differences"], state["pairs"]
        for name in self._ARRAYS:
            setattr(self, name, as_array(state[name.strip("_")]))
