"""The mixtures of another run, drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.replayed import other_tasks, replayed

ENDS = np.array([0.2, 0.5, 1.0])
SHARES = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.9, 0.1, 0.0]])
LENGTHS = np.diff(ENDS, prepend=0.0)
AVERAGE = LENGTHS @ SHARES


def average(ends: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.diff(ends, prepend=0.0) @ shares


def test_the_average_is_one_mixture() -> None:
    made = replayed(ENDS, SHARES, AVERAGE, "average", 0)
    assert all((made.at(progress) == AVERAGE).all() for progress in (0, 0.3, 1))


def test_the_schedule_is_that_of_the_run_at_the_same_share() -> None:
    made = replayed(ENDS, SHARES, AVERAGE, "schedule", 0)
    for progress, span in ((0, 0), (0.19, 0), (0.2, 1), (0.49, 1), (0.5, 2), (1, 2)):
        assert (made.at(progress) == SHARES[span]).all()


def test_permuted_tasks_get_the_shares_of_others_and_targets_none() -> None:
    for seed in range(5):
        made = replayed(ENDS, SHARES, AVERAGE, "permuted", seed)
        assert (made.shares == SHARES[:, [1, 0, 2]]).all()
        trained = np.array([True] * 6 + [False])
        others = other_tasks(trained, seed)
        assert sorted(others) == list(range(7))
        assert (others[:6] != np.arange(6)).all()
        assert others[6] == 6
    assert (other_tasks(trained, 0) != other_tasks(trained, 1)).any()


def test_reversed_time_begins_with_the_end() -> None:
    made = replayed(ENDS, SHARES, AVERAGE, "reversed", 0)
    assert made.ends == pytest.approx([0.5, 0.8, 1.0])
    assert (made.shares == SHARES[::-1]).all()


@pytest.mark.parametrize("how", ["schedule", "reversed", "shuffled"])
def test_the_order_does_not_change_the_average(how: str) -> None:
    rng = np.random.default_rng(0)
    ends = np.append(np.sort(rng.random(11)), 1.0)
    shares = rng.dirichlet(np.ones(4), 12)
    made = replayed(ends, shares, average(ends, shares), how, 3)  # type: ignore[arg-type]
    assert average(made.ends, made.shares) == pytest.approx(average(ends, shares), abs=1e-12)
    assert made.ends[-1] == 1.0
    assert ((made.shares == shares).all()) == (how == "schedule")


def test_other_mixtures_have_another_fingerprint() -> None:
    prints = [
        str(replayed(ENDS, SHARES, AVERAGE, how, 0).fingerprint())
        for how in ("average", "schedule", "permuted", "reversed")
    ]
    assert len(set(prints)) == 4
