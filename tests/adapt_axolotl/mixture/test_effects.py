"""What of the effects of tasks on targets is told from noise. K tasks, J targets."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.mixture.effects import FALSE_SHARE, Effects, of_group_products, summed

GROUPS, ROWS, SIZE = 8, 8, 6  # rows of a group, numbers of a gradient


def measured(
    rng: np.random.Generator, targets: np.ndarray, tasks: np.ndarray, noise: float = 3.0
) -> Effects:
    """Of rows whose gradients scatter about these means, (J, SIZE) and (K, SIZE), a token each
    as often as a row has tokens."""

    def groups(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens = rng.integers(1, 6, size=(len(means), GROUPS, ROWS))
        rows = means[:, None, None] + noise * rng.standard_normal(
            (len(means), GROUPS, ROWS, means.shape[1])
        )
        return (tokens[..., None] * rows).sum(axis=2), tokens.sum(axis=2)

    (ours, target_tokens), (theirs, task_tokens) = groups(targets), groups(tasks)
    products = np.einsum("jap,kbp->jakb", ours, theirs)
    return of_group_products(products, target_tokens, task_tokens)


def alike(count: int) -> np.ndarray:
    return np.ones((count, SIZE))


@pytest.mark.parametrize("above", [False, True])
def test_errors_are_how_far_effects_scatter_over_the_draw_of_rows(above: bool) -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2])
    values, errors = [], []
    for _ in range(600):
        one = measured(rng, alike(2), alike(3))
        one = one.above_average(shares) if above else one
        values.append(one.values)
        errors.append(one.errors)
    scatter, told = np.std(values, axis=0), np.sqrt(np.mean(np.square(errors), axis=0))
    # What both sides share is counted twice: here noise times noise is a part of the scatter.
    assert (told > 0.93 * scatter).all()
    assert (told < 1.35 * scatter).all()


def test_where_tasks_are_alike_none_is_said_to_help_more() -> None:
    rng = np.random.default_rng(1)
    shares = np.full(6, 1 / 6)
    named = [
        measured(rng, alike(3), alike(6)).above_average(shares).told_from_noise().any()
        for _ in range(400)
    ]
    # By chance 5 of 100 tables name anything; three standard errors above that.
    assert np.mean(named) < FALSE_SHARE + 3 * np.sqrt(FALSE_SHARE * (1 - FALSE_SHARE) / 400)


def test_a_task_that_helps_one_target_is_found_and_no_other() -> None:
    rng = np.random.default_rng(2)
    targets = np.eye(SIZE)[:2] * 3
    tasks = np.eye(SIZE)[:3] * 3  # the first two along a target each, the third along none
    found = [measured(rng, targets, tasks, noise=1.0) for _ in range(50)]
    told = np.mean([one.told_from_noise() for one in found], axis=0)
    assert told[0, 0] == told[1, 1] == 1
    assert told[[0, 1, 2, 2], [1, 0, 0, 1]].max() < 0.15
    assert np.mean([one.values for one in found], axis=0)[:2] == pytest.approx(
        9 * np.eye(2), abs=0.3
    )


def test_rows_that_are_read_again_are_no_new_evidence() -> None:
    one = measured(np.random.default_rng(3), alike(1), alike(2))
    thrice = summed([one, one, one], [1.0, 1.0, 1.0])
    assert thrice.values == pytest.approx(3 * one.values)
    assert thrice.errors == pytest.approx(3 * one.errors)
    rng = np.random.default_rng(4)
    fresh = summed([measured(rng, alike(1), alike(2)) for _ in range(3)], [1.0] * 3)
    assert fresh.errors.max() < 2.4 * one.errors.min()


def test_the_average_of_what_is_above_the_average_is_nothing() -> None:
    one = measured(np.random.default_rng(5), alike(2), alike(3))
    shares = np.array([0.5, 0.3, 0.2])
    above = one.above_average(shares)
    assert shares @ above.values == pytest.approx(np.zeros(2), abs=1e-12)
    assert above.values + one.average(shares).values == pytest.approx(one.values)


def test_an_effect_of_nothing_is_not_told_from_noise() -> None:
    zero = Effects(np.zeros((2, 1)), np.zeros((GROUPS, 2, 1)), np.zeros((GROUPS, 2, 1)))
    assert not zero.told_from_noise().any()
