"""Shares stay shares: floors, caps, and the static schemes."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.averages import TokenAverage
from adapt_axolotl.mixture.simplex import cap_weights, entropy, softmax, with_floor
from adapt_axolotl.mixture.static import static_proportions

SEEDS = range(8)


def draw(seed: int, count: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(count, 0.2))


def test_softmax_does_not_overflow_and_ignores_a_shift() -> None:
    logits = np.array([1000.0, 999.0, -1000.0])
    assert softmax(logits) == pytest.approx(softmax(logits - 5000))
    assert softmax(logits)[0] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_floor_holds_and_keeps_the_order(seed: int) -> None:
    p = draw(seed)
    initial = np.full(len(p), 1 / len(p))
    floored = with_floor(p, initial, 0.05 * len(p))
    assert floored.sum() == pytest.approx(1, abs=1e-12)
    assert floored.min() >= 0.05 - 1e-12
    assert (np.argsort(floored) == np.argsort(p)).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cap", [1 / 7, 0.2, 0.4, 1.0])
def test_a_cap_holds_and_what_it_cuts_goes_to_the_others_in_proportion(
    seed: int, cap: float
) -> None:
    q = draw(seed)
    capped = cap_weights(q, np.full(len(q), cap))
    assert capped.sum() == pytest.approx(1, abs=1e-9)
    assert capped.max() <= cap
    free = capped < cap * (1 - 1e-9)
    if free.sum() > 1:
        ratio = capped[free] / q[free]
        assert ratio == pytest.approx(ratio[0])
    if q.max() <= cap:
        assert capped == pytest.approx(q)


def test_weights_of_zero_share_what_a_cap_leaves() -> None:
    assert cap_weights(np.array([1.0, 0.0, 0.0]), np.full(3, 0.5)) == pytest.approx(
        [0.5, 0.25, 0.25]
    )


def test_each_weight_has_a_cap_of_its_own() -> None:
    capped = cap_weights(np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.4, 0.8]))
    assert capped == pytest.approx([0.2, 0.4, 0.4])


@pytest.mark.parametrize("floor", [-0.1, 1.3])
def test_a_floor_that_cannot_hold_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match=r"adapt\.floor: .* is no part .* set it between 0 and 1"):
        with_floor(np.full(4, 0.25), np.full(4, 0.25), floor)


@pytest.mark.parametrize("count", [2, 3, 7, 49])
def test_the_largest_floor_leaves_only_the_initial_mixture(count: int) -> None:
    initial = draw(1, count)
    assert with_floor(draw(0, count), initial, 1.0) == pytest.approx(initial)


def test_entropy_is_its_definition_and_zero_at_a_corner() -> None:
    p = draw(0)
    assert entropy(p) == pytest.approx(-sum(x * np.log(x) for x in p if x > 0), rel=1e-12)
    assert entropy(np.array([1.0, 0.0])) == 0


def test_static_schemes() -> None:
    available = [100, 300, 600]
    assert static_proportions("uniform", available) == pytest.approx([1 / 3] * 3)
    assert static_proportions("round_robin", available) == pytest.approx([1 / 3] * 3)
    assert static_proportions("proportional", available) == pytest.approx([0.1, 0.3, 0.6])
    roots = np.sqrt(available) / np.sqrt(available).sum()
    assert static_proportions("temperature", available, temperature=2) == pytest.approx(roots)
    assert static_proportions("temperature", [10**9, 1], temperature=0.01) == pytest.approx([1, 0])
    given = static_proportions("weights", available, weights={"b": 1, "a": 3, "c": 0}, tasks="abc")
    assert given == pytest.approx([0.75, 0.25, 0])


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"a": 1}, "missing: b"),
        ({"a": 1, "b": 1, "x": 1}, "unknown: x"),
        ({"a": 1, "b": -1}, "b: a weight must be a number of 0 or more"),
        ({"a": 1, "b": float("nan")}, "b: a weight must be"),
        ({"a": 0, "b": 0}, "all weights are 0"),
    ],
)
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        static_proportions("weights", [1, 1], weights=weights, tasks=("a", "b"))


@pytest.mark.parametrize("scheme", ["uniform", "proportional", "temperature", "weights"])
def test_a_task_without_rows_has_no_share(scheme: str) -> None:
    named = {"weights": {"a": 1.0, "c": 3.0}, "temperature": 2.0}
    shares = static_proportions(scheme, [100, 0, 900], tasks=("a", "b", "c"), **named)
    assert shares[1] == 0
    assert shares[[0, 2]] == pytest.approx(
        static_proportions(scheme, [100, 900], tasks=("a", "c"), **named)
    )


def test_the_average_is_weighted_by_tokens_and_resumes() -> None:
    average = TokenAverage("ab")
    assert average.average() == pytest.approx([0.5, 0.5])
    average.add(np.array([1.0, 0.0]), 300)
    other = TokenAverage("ab")
    other.load_state_dict(average.state_dict())
    other.add(np.array([0.0, 1.0]), 100)
    assert other.average() == pytest.approx([0.75, 0.25])
