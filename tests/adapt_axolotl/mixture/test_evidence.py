"""What repeated measurements say beside their noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from adapt_axolotl.mixture.evidence import Evidence, shrunk


def pooled(values: np.ndarray, errors: np.ndarray, decay: float = 1.0) -> Evidence:
    """Of (T, K) measurements."""
    evidence = Evidence(values.shape[1], decay)
    for one, error in zip(values, errors, strict=True):
        evidence.add(one, error)
    return evidence


def uniform(count: int) -> np.ndarray:
    return np.full(count, 1 / count)


def test_it_is_the_literal_meta_analysis() -> None:
    """Weighted means, Birge's ratio, Cochran's Q and the variance of Paule and Mandel with a
    quantile for the mean of Q; 1e-9 relative."""
    rng = np.random.default_rng(0)
    times, count = 6, 8
    errors = 0.2 + 0.2 * rng.random((times, count))
    values = 4 + rng.normal(size=count) + rng.normal(size=(times, count)) * 2 * errors
    initial = np.linspace(1, 2, count) / np.linspace(1, 2, count).sum()
    decay = 0.8
    # The scale of each meta step's gradients is its own.
    units = 10.0 ** rng.normal(size=(times, 1))
    found = pooled(values * units, errors * units, decay).posterior(initial)
    scale = np.sqrt((errors**2).mean(1, keepdims=True))
    values, errors = values / scale, errors / scale
    weights = decay ** np.arange(times)[::-1, None] / errors**2
    means = (weights * values).sum(0) / weights.sum(0)
    steps = np.diff(values, axis=0) ** 2 / (errors[1:] ** 2 + errors[:-1] ** 2)
    phi = max(1.0, steps.mean())
    variances = phi * (weights**2 * errors**2).sum(0) / weights.sum(0) ** 2
    means, variances = means / (initial @ means) - 1, variances / (initial @ means) ** 2
    w = 1 / variances
    q = (w * (means - (w * means).sum() / w.sum()) ** 2).sum()
    limit = (count - 1) * stats.f.ppf(0.95, count - 1, (times - 1) * count)
    assert q > limit
    # Their own iteration: Newton's, from 0.
    tau2 = 0.0
    for _ in range(100):
        w = 1 / (tau2 + variances)
        centre = (w * means).sum() / w.sum()
        squares = (means - centre) ** 2
        tau2 += ((w * squares).sum() - limit) / (w**2 * squares).sum()
    expected = centre + tau2 / (tau2 + variances) * (means - centre)
    assert found.means == pytest.approx(expected, rel=1e-9)
    assert found.over_noise == pytest.approx(np.sqrt(q / (count - 1)), rel=1e-12)
    assert found.deviations == pytest.approx((means - centre) / np.sqrt(variances), rel=1e-9)


def test_a_task_that_is_known_far_better_does_not_alone_say_what_is_common() -> None:
    """Nineteen tasks about 1, one of almost no error at 0: what is believed of the others lies
    about their own mean, not half-way to 0."""
    rng = np.random.default_rng(3)
    values = np.append(1 + 0.3 * rng.normal(size=19), 0.0)
    believed = shrunk(values, np.append(np.full(19, 0.3), 1e-3) ** 2, 100).means
    assert believed[:19].mean() == pytest.approx(values[:19].mean(), abs=0.15)
    assert believed[19] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("count", [4, 20, 64])
def test_equal_tasks_stay_equal_in_most_runs(count: int) -> None:
    """One look at the end of a run: in about 5 of 100 something is believed, and then little."""
    moved, sizes = 0, []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        errors = np.full((8, count), 0.3)
        values = 1 + rng.normal(size=(8, count)) * 0.3 * np.sqrt(2)
        means = pooled(values, errors).posterior(uniform(count)).means
        moved += bool(np.ptp(means) > 0)
        sizes.append(np.ptp(means))
    assert moved / 300 < 0.12
    assert np.mean(sizes) < 0.02


def test_a_mixture_that_does_nothing_beyond_noise_says_nothing_of_its_parts() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(8, 20)) * 0.3
    posterior = pooled(values, np.full((8, 20), 0.3)).posterior(uniform(20))
    assert (posterior.means == 0).all()
    assert np.isnan(posterior.over_noise)


def test_noise_that_the_errors_do_not_know_is_found_from_repeats() -> None:
    rng = np.random.default_rng(1)
    quiet = pooled(1 + rng.normal(size=(40, 30)) * 0.3, np.full((40, 30), 0.3))
    loud = pooled(1 + rng.normal(size=(40, 30)) * 0.9, np.full((40, 30), 0.3))
    assert quiet.overdispersion == pytest.approx(1.0, abs=0.15)
    assert loud.overdispersion == pytest.approx(9.0, rel=0.15)


def test_one_measurement_of_each_task_says_nothing() -> None:
    evidence = pooled(np.array([[1.0, 5.0, 9.0]]), np.full((1, 3), 0.01))
    posterior = evidence.posterior(uniform(3))
    assert (posterior.means == 0).all()
    assert np.isnan(posterior.over_noise)


def test_a_task_that_was_never_measured_is_taken_for_the_mean_one() -> None:
    values = np.array([[1.0, 2.0, np.nan], [1.1, 2.1, np.nan], [1.0, 2.0, np.nan]])
    posterior = pooled(values, np.full((3, 3), 0.01)).posterior(uniform(3))
    assert posterior.means[0] < posterior.means[2] < posterior.means[1]
    assert np.isnan(posterior.deviations[2])


def test_it_comes_back_to_the_bit() -> None:
    rng = np.random.default_rng(2)
    values = 3 + rng.normal(size=(6, 5))
    values[2, 3] = np.nan
    evidence = pooled(values, np.full((6, 5), 0.3), 0.8)
    other = Evidence(5, 0.8)
    other.load_state_dict(json.loads(json.dumps(evidence.state_dict(), allow_nan=False)))
    assert (other.posterior(uniform(5)).means == evidence.posterior(uniform(5)).means).all()
    assert other.state_dict() == evidence.state_dict()
