"""The mixtures of another run, drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.replayed import other_tasks, random_walk, replayed

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


def test_a_walk_goes_as_far_as_the_run_and_elsewhere() -> None:
    rng = np.random.default_rng(1)
    logits = np.cumsum(rng.normal(size=(12, 6)) * rng.random((12, 1)), axis=0)
    logits -= logits.mean(axis=1, keepdims=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    lengths = rng.dirichlet(np.ones(12))

    def path(mixtures: np.ndarray) -> np.ndarray:
        logs = np.log(mixtures)
        logs -= logs.mean(axis=1, keepdims=True)
        moved: np.ndarray = logs - logs[0]
        return moved

    def lengths_of_steps(moved: np.ndarray) -> np.ndarray:
        sizes: np.ndarray = np.linalg.norm(np.diff(moved, axis=0), axis=1)
        return sizes

    walks = [random_walk(lengths, shares, seed) for seed in range(40)]
    own = path(shares)
    for walk in walks:
        moved = path(walk)
        assert walk.sum(axis=1) == pytest.approx(np.ones(12))
        assert walk[0] == pytest.approx(shares[0])
        assert lengths @ np.linalg.norm(moved, axis=1) == pytest.approx(
            lengths @ np.linalg.norm(own, axis=1)
        )
        ratio = lengths_of_steps(moved) / lengths_of_steps(own)
        assert ratio == pytest.approx(np.full(11, ratio[0]))
    # It ends in no direction in particular: the cosines with the run's end are about 0.
    ends = [path(walk)[-1] for walk in walks]
    cosines = [end @ own[-1] / np.linalg.norm(end) / np.linalg.norm(own[-1]) for end in ends]
    assert abs(np.mean(cosines)) < 3 / np.sqrt(40 * 5)


def test_in_a_walk_tasks_that_were_left_out_keep_their_shares() -> None:
    shares = np.array([[0.5, 0.3, 0.2, 0.0], [0.4, 0.1, 0.0, 0.5]])
    walked = random_walk(np.array([0.5, 0.5]), shares, 0)
    assert (walked[:, 2:] == shares[:, 2:]).all()
    assert walked.sum(axis=1) == pytest.approx(np.ones(2))
    assert random_walk(np.ones(1), shares[:1], 0) == pytest.approx(shares[:1])


def test_other_mixtures_have_another_fingerprint() -> None:
    prints = [
        str(replayed(ENDS, SHARES, AVERAGE, how, 0).fingerprint())
        for how in ("average", "schedule", "permuted", "reversed", "walk")
    ]
    assert len(set(prints)) == 5
