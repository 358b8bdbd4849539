"""Scores where proportions count rows: the chain rule through the lengths of rows."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.mixture.simplex import softmax
from adapt_axolotl.mixture.standardise import centred, loss_shares, tokens_of_a_share

RATE = 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by_rows", [False, True])
def test_the_step_is_the_numerical_gradient_through_the_inner_step(
    seed: int, by_rows: bool
) -> None:
    """Quadratic task losses |theta - c_k|^2 / 2, one validation loss of the same kind; the loss of
    a step is a mean over tokens. Central differences in float64, 1e-6 relative."""
    rng = np.random.default_rng(seed)
    count, size = 6, 4
    theta, targets = rng.normal(size=size), rng.normal(size=(count, size))
    goal = rng.normal(size=size)
    lengths = rng.integers(2, 200, count).astype(float) if by_rows else None
    logits = rng.normal(size=count)

    def after_step(shares: np.ndarray) -> np.ndarray:
        return theta - RATE * loss_shares(shares, lengths) @ (theta - targets)

    def value(logits: np.ndarray) -> float:
        return float(((after_step(softmax(logits)) - goal) ** 2).sum() / 2)

    shares = softmax(logits)
    step = 1e-6
    numerical = np.array(
        [
            (value(logits + step * one) - value(logits - step * one)) / (2 * step)
            for one in np.eye(count)
        ]
    )
    v = after_step(shares) - goal
    usefulness = (theta - targets) @ v  # <v, grad L_k>
    known = np.ones(count, dtype=bool)
    advantage = tokens_of_a_share(shares, lengths) * centred(
        usefulness, loss_shares(shares, lengths), known
    )
    # dJ/da_i = -eta p_i (what the mixture standardises and steps along)
    np.testing.assert_allclose(-RATE * shares * advantage, numerical, rtol=1e-6, atol=1e-9)


def test_a_task_of_long_rows_is_judged_by_its_share_of_the_loss() -> None:
    """Its score is above the mean over rows and below the mean over tokens: more rows of it would
    crowd out a task that helps more."""
    useful = np.array([0.0, 1.0, 2.0])
    lengths = np.array([1.0, 10.0, 100.0])

    def returns(row_tokens: np.ndarray | None) -> np.ndarray:
        mixture = LearnedMixture(
            ("a", "b", "c"), objective("mean"), floor=0.0, row_tokens=row_tokens
        )
        mixture.observe(np.ones(3))
        return mixture.update(useful, np.zeros(3), step=0).returns

    assert returns(None)[1] == pytest.approx(1)
    assert returns(lengths)[1] < 1
