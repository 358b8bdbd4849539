"""Objectives: values, and the weights that they give the tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapt_axolotl.mixture.objectives.named import OBJECTIVES, READ_BY, objective
from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.objectives.smooth_worst_case import SmoothWorstCase, smooth_maximum
from adapt_axolotl.mixture.objectives.worst_group import WorstGroup, groups_of_tasks

LOSSES = np.array([1.0, 2.5, 0.4, 1.7])
FIRST = np.array([3.0, 2.6, 3.1, 2.0])
ALONE = np.ones(4)  # first losses with which U = V
GROUPS = [0, 1, 0, 1]
NEEDED: dict[str, dict[str, Any]] = {
    "excess": {"reference_losses": [0.1, 0.2, 0.3, 0.4]},
    "worst_group": {"groups": GROUPS},
}


def make(name: str, **changes: Any) -> Objective:
    return objective(name, **{**NEEDED.get(name, {}), **changes})


def numerical(value: Any, at: np.ndarray) -> np.ndarray:
    """Central differences of second order, float64."""
    steps = 1e-5 * np.eye(len(at))
    return np.array([(value(at + step) - value(at - step)) / 2e-5 for step in steps])


def without_spread(chosen: Objective) -> Any:
    """Its value with the sharpness that is in force at LOSSES: the spread counts as a constant."""
    if isinstance(chosen, SmoothWorstCase) and chosen.spread:
        sharpness = chosen.sharpness(chosen.utilities(LOSSES, FIRST))
        fixed = replace(chosen, beta=sharpness, spread=False)
        return lambda losses: fixed.value(losses, FIRST)
    if isinstance(chosen, WorstGroup):

        def means(losses: np.ndarray) -> np.ndarray:
            relative = losses / FIRST
            return np.array([relative[[0, 2]].mean(), relative[[1, 3]].mean()])

        beta = chosen.beta / means(LOSSES).std()
        return lambda losses: smooth_maximum(means(losses), beta, np.full(2, 0.5))
    return lambda losses: chosen.value(losses, FIRST)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_weights_of_v_are_the_derivative_of_the_value(name: str) -> None:
    """Below the cap; the cap is on top of the derivative."""
    chosen = make(name, beta=0.5)
    value = without_spread(chosen)
    assert value(LOSSES) == pytest.approx(chosen.value(LOSSES, FIRST), rel=1e-12)
    assert chosen.derivative(LOSSES, FIRST) == pytest.approx(numerical(value, LOSSES), rel=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.25, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
def test_so_they_are_at_every_level_and_power(level: float, alpha: float) -> None:
    for chosen in (make("cvar", level=level), make("alpha_fair", alpha=alpha)):
        found = chosen.derivative(LOSSES, FIRST)
        assert found == pytest.approx(
            numerical(lambda losses, at=chosen: at.value(losses, FIRST), LOSSES), rel=1e-6, abs=1e-9
        )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_tasks_weight_is_negative_and_the_worse_of_two_never_counts_less(name: str) -> None:
    rng = np.random.default_rng(0)
    chosen = make(name, reference_losses=[0.0] * 4, groups=[0, 1, 2, 3])
    for _ in range(50):
        losses = rng.random(4) * 3
        weights = chosen.derivative(losses, ALONE)
        assert (np.diff(weights[np.argsort(losses)]) >= -1e-12).all()
        assert weights.min() >= 0


def test_the_smooth_worst_case_lies_between_mean_and_maximum() -> None:
    betas = (0, 1e-6, 0.5, 4, 50, 10_000)
    values = [make("raw", beta=beta).value(LOSSES, FIRST) for beta in betas]
    assert values[0] == pytest.approx(LOSSES.mean(), rel=1e-12)
    assert values[1] == pytest.approx(LOSSES.mean(), rel=1e-5)
    # (1/beta) log(mean(exp)) loses every digit here.
    for beta in (1e-9, 1e-14):
        second_order = LOSSES.mean() + beta / 2 * LOSSES.var()
        value = make("raw", beta=beta).value(LOSSES, FIRST)
        assert value == pytest.approx(second_order, rel=1e-14)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(LOSSES.max(), abs=1e-3)


def test_only_the_papers_objective_lets_one_loss_take_everything() -> None:
    losses = np.array([0.1, 0.1, 0.1, 9.0])
    assert make("paper").derivative(losses, FIRST)[3] > 0.99
    assert make("raw").derivative(losses, FIRST)[3] == pytest.approx(0.5)
    assert make("mean").derivative(losses, FIRST) == pytest.approx([0.25] * 4)


def test_excess_is_the_loss_above_its_reference() -> None:
    references = [0.4, 0.1, 0.3, 0.2]
    excess = make("excess", reference_losses=references)
    above = LOSSES - np.array(references)
    assert excess.derivative(LOSSES, FIRST) == pytest.approx(make("raw").derivative(above, FIRST))


def test_cvar_is_the_mean_of_the_worst_tasks() -> None:
    losses = np.arange(1.0, 9.0)
    first = np.ones(8)
    assert make("cvar").value(losses, first) == pytest.approx(7.5)  # a quarter of eight
    assert make("cvar", level=1.0).value(losses, first) == pytest.approx(losses.mean())
    assert make("cvar", level=0.01).value(losses, first) == pytest.approx(8.0)
    # Of three tasks at 50 %, the second counts by half of the first.
    assert make("cvar", level=0.5).derivative(losses[:3], first[:3]) == pytest.approx(
        [0, 1 / 3, 2 / 3]
    )


@pytest.mark.parametrize("level", [0.2, 0.35, 0.5])
def test_cvar_is_least_over_c_of_its_definition(level: float) -> None:
    losses = np.random.default_rng(1).random(10)
    by_c = [c + np.maximum(losses - c, 0).sum() / (level * 10) for c in losses]
    found = make("cvar", level=level).value(losses, np.ones(10))
    assert found == pytest.approx(min(by_c), rel=1e-12)


def test_tasks_that_are_equal_at_the_border_of_cvar_share_it() -> None:
    weights = make("cvar", level=0.5).derivative(np.array([3.0, 2.0, 2.0, 2.0]), ALONE)
    assert weights == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])


def test_alpha_fairness_goes_from_the_mean_to_the_maximum_by_ratios_of_losses() -> None:
    alphas = (0.0, 1.0, 5.0, 500.0)
    values = [make("alpha_fair", alpha=alpha).value(LOSSES, ALONE) for alpha in alphas]
    assert values[0] == pytest.approx(LOSSES.mean(), rel=1e-12)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(LOSSES.max(), rel=0.01)
    weights = make("alpha_fair", alpha=2.0).derivative(np.array([1.0, 2.0, 4.0, 4.0]), ALONE)
    assert weights[1:] / weights[:-1] == pytest.approx([4, 4, 1])
    solved = make("alpha_fair", alpha=0.5)
    assert np.isfinite(solved.derivative(np.zeros(4), ALONE)).all()


def test_many_tasks_of_a_kind_weigh_as_much_as_one_of_another_kind() -> None:
    losses, first = np.ones(6), np.ones(6)
    grouped = make("worst_group", groups=[0, 0, 0, 0, 0, 1])
    weights = grouped.derivative(losses, first)
    assert weights[:5].sum() == pytest.approx(weights[5])
    losses[5] = 3.0
    weights = grouped.derivative(losses, first)
    assert weights[5] > 2 * weights[:5].sum()


def test_groups_of_one_task_each_are_the_worst_case() -> None:
    alone = make("worst_group", groups=[3, 2, 1, 0])
    assert alone.value(LOSSES, FIRST) == pytest.approx(make("worst_case").value(LOSSES, FIRST))
    assert alone.derivative(LOSSES, FIRST) == pytest.approx(
        make("worst_case").derivative(LOSSES, FIRST)
    )


def test_over_some_tasks_groups_lose_the_others() -> None:
    known = np.array([True, False, True, False])
    part = make("worst_group", groups=[0, 1, 2, 2]).over(known)
    weights = part.derivative(LOSSES[known], FIRST[known])
    twin = make("worst_group", groups=[0, 1]).derivative(LOSSES[known], FIRST[known])
    assert weights == pytest.approx(twin)


def test_a_task_in_no_group_is_one_by_itself() -> None:
    groups = groups_of_tasks({"c": ["a", "d"]}, ("a", "b", "c", "d"))
    assert groups == [0, 1, 2, 0]


def test_a_sharpness_out_of_range_is_refused() -> None:
    for beta in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"beta: .* set a number of 0"):
            objective("raw", beta=beta)


def test_unknown_objectives_and_missing_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="choose from worst_case, relative"):
        objective("best")
    with pytest.raises(ValueError, match="needs reference_losses"):
        objective("excess")
    with pytest.raises(ValueError, match="needs groups"):
        objective("worst_group")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_checkpoint_knows_all_settings_that_an_objective_reads(name: str) -> None:
    known = {key.removeprefix("adapt.learned.") for key in make(name).settings()}
    assert {key for key, readers in READ_BY.items() if name in readers} <= known


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_task_of_weight_two_counts_as_two_tasks_alike(name: str) -> None:
    twice = [0, 1, 1, 2, 3]
    needed = {"reference_losses": [0.1, 0.2, 0.3, 0.4], "groups": [0, 0, 1, 1]}
    weighted = make(name, beta=0.7, weights=[1, 2, 1, 1], **needed)
    longer = make(name, beta=0.7, **{key: np.array(value)[twice] for key, value in needed.items()})
    value = longer.value(LOSSES[twice], FIRST[twice])
    assert weighted.value(LOSSES, FIRST) == pytest.approx(value, rel=1e-12)
    of_each = longer.derivative(LOSSES[twice], FIRST[twice])
    both = [of_each[0], of_each[1] + of_each[2], of_each[3], of_each[4]]
    assert weighted.derivative(LOSSES, FIRST) == pytest.approx(both, rel=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weighted_targets_alone_count(name: str) -> None:
    some = np.array([True, False, True, True])
    chosen = make(name, weights=[3, 9, 1, 1], targets=some.tolist()).over(some)
    assert chosen.parts(3) == pytest.approx([0.6, 0.2, 0.2])
    value = chosen.value(LOSSES[some], FIRST[some])
    assert chosen.derivative(LOSSES[some], FIRST[some]).shape == (3,)
    assert np.isfinite(value)
