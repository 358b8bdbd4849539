"""The rule of DoGE, against the paper's update written down literally."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from adapt_axolotl.mixture.doge import GeneralisationSteps
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective

RATE, MU = 0.1, 0.5


def made(targets: list[bool] | None = None) -> LearnedMixture:
    counted = 3 if targets is None else sum(targets)
    return LearnedMixture(
        "abc",
        objective("mean", targets=targets),
        steps=GeneralisationSteps(counted, lambda: RATE, mu=MU),
        floor=0.0,
    )


@pytest.mark.parametrize("targets", [None, [False, True, False]], ids=["all", "one target"])
def test_the_update_is_the_papers(targets: list[bool] | None) -> None:
    rng = np.random.default_rng(0)
    mixture, shares = made(targets), [1 / 3] * 3
    mixture.observe(np.ones(3))
    counted = [True] * 3 if targets is None else targets
    for step in range(20):
        training, validation = rng.normal(size=(2, 3, 5))
        # As a meta step measures it: v is weighted by the objective.
        weights = mixture.weights
        products = training @ (weights @ validation)
        update = mixture.update(products, np.full(3, 0.1), step=step)

        summed = sum(validation[j] for j in range(3) if counted[j])
        scores = [float(training[i] @ summed) for i in range(3)]
        shares = [p * math.exp(RATE * w / MU) for p, w in zip(shares, scores, strict=True)]
        shares = [p / sum(shares) for p in shares]
        assert update.proportions == pytest.approx(np.array(shares), rel=1e-10)


def test_tasks_that_were_not_measured_keep_their_share_against_the_others_together() -> None:
    mixture = made()
    mixture.observe(np.ones(3))
    mixture.update(np.array([0.01, -0.01, np.nan]), np.full(3, 0.1), step=0)
    moved = mixture.proportions
    assert moved[0] > 1 / 3 > moved[1]
    assert moved[2] == pytest.approx(1 / 3, abs=1e-5)


def test_a_state_goes_on_to_the_bit() -> None:
    whole, rest = made(), made()
    rng = np.random.default_rng(1)
    for mixture in (whole, rest):
        mixture.observe(np.ones(3))
    whole.update(rng.normal(size=3), np.full(3, 0.1), step=0)
    rest.load_state_dict(json.loads(json.dumps(whole.state_dict(), allow_nan=False)))
    products = rng.normal(size=3)
    for mixture in (whole, rest):
        mixture.update(products, np.full(3, 0.1), step=1)
    assert rest.proportions.tolist() == whole.proportions.tolist()
