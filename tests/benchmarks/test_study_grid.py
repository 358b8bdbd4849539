"""Which cells the study has, in which order, at which learning rates, and what they take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from study_arms import ARMS, FORMS, FOUND, TUNED
from study_cost import Costs, said
from study_grid import (
    BUDGETS,
    MORE_SEEDS,
    RATES,
    SEEDS,
    TUNED_ON,
    TUNING_SEEDS,
    UNTUNED,
    Cell,
    Filter,
    before,
    best_static,
    block,
    grid,
    in_order,
    rate_of,
    rates,
    small,
    stands_in,
    tuning,
)

from adapt_axolotl.config.adapt import AdaptConfig

CHOSEN = rates({})
ALL = in_order([*grid(Filter(), CHOSEN, "temperature"), *tuning(Filter())], CHOSEN)


def losses(best: dict[str, float]) -> dict[Cell, float]:
    """Of all tuning runs: lowest at the arm's best rate."""
    return {
        cell: 1.0 + abs(cell.learning_rate - best.get(cell.arm, 3e-3)) + 0.001 * cell.seed
        for cell in tuning(Filter())
    }


KINDS = {(cell.regime, cell.arm): cell for cell in ALL}


@pytest.mark.parametrize("cell", KINDS.values(), ids=str)
def test_an_arm_is_what_a_recipe_can_say(cell: Cell) -> None:
    adapt = block(cell, 1000, Path("runs/earlier"))
    read = AdaptConfig.model_validate(adapt)
    assert read.budget.resolve(10**9) == 1000
    needed = before(cell, CHOSEN)
    assert (read.earlier is not None) == (needed is not None and cell.arm != "uniform_more")
    assert bool(read.targets) == (
        cell.regime == "targets" and cell.arm.startswith(("learned", "doge"))
    )


@pytest.mark.parametrize("arm", FOUND)
def test_a_searched_mixture_is_whole_and_not_one_of_equal_shares(
    arm: str,
) -> None:
    cell = Cell(next(iter(ARMS[arm].regimes or ())), arm, 0.05, 3e-3, 1)
    weights = block(cell, 1000, None)["weights"]
    assert len(weights) == 20
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-4)
    assert max(weights.values()) > 0.06


def test_every_cell_comes_once_and_behind_the_one_that_it_needs() -> None:
    assert len(set(ALL)) == len(ALL)
    place = {cell: number for number, cell in enumerate(ALL)}
    for cell in ALL:
        needed = before(cell, CHOSEN)
        assert needed is None or place[needed] < place[cell]


def test_runs_that_an_arm_comes_from_are_added_and_trained_as_it_is() -> None:
    (only,) = small(Filter(["doremi"], seeds=[7]), CHOSEN)
    assert [(cell.arm, cell.seed) for cell in in_order([only], CHOSEN)] == [
        ("uniform", 7),
        ("doremi_proxy", 7),
        ("doremi", 7),
    ]
    tuned = Cell("natural", "doremi", 0.05, 6e-3, 101)
    assert {cell.learning_rate for cell in in_order([tuned], CHOSEN)} == {6e-3}


def test_more_tokens_are_those_of_the_learner_at_its_own_rate() -> None:
    chosen = CHOSEN | {("learned", 0.05): 6e-3}
    more = Cell("natural", "uniform_more", 0.05, 3e-3, 1)
    assert before(more, chosen) == Cell("natural", "learned", 0.05, 6e-3, 1)


def test_the_grid_has_five_seeds_everywhere_and_ten_where_it_matters_most() -> None:
    cells = grid(Filter(), CHOSEN, "temperature")
    for regime in ("natural", "balanced", "noise", "duplicates"):
        for arm in ARMS:
            for budget in BUDGETS:
                own = {
                    cell.seed
                    for cell in cells
                    if cell.name.startswith(f"{regime}/")
                    and (cell.arm, cell.budget) == (arm, budget)
                }
                main = regime == "natural" and budget > 0.01
                more = MORE_SEEDS if main and arm in ("uniform", "learned", "temperature") else ()
                assert own == ({*SEEDS, *more} if stands_in(arm, regime, budget) else set())
    targets = {cell.arm for cell in cells if cell.regime == "targets"}
    assert targets == {"uniform_more", "searched_targets", "doge", *FORMS}
    assert not stands_in("replay_walk", "noise", 0.05)
    assert not stands_in("learned_cvar", "natural", 0.1)


@pytest.mark.parametrize("budget", RATES)
def test_learning_rates_come_from_whole_tuning_alone(budget: float) -> None:
    low, high, *_ = RATES[budget]
    known = losses({"odm": low, "learned": low})
    chosen = rates(known)
    found = tuple(chosen[arm, budget] for arm in ("odm", "learned", "uniform"))
    assert found == (low, low, high)
    assert chosen["replay_reversed", budget] == low  # a control has its run's
    del known[Cell(TUNED_ON, "odm", budget, high, TUNING_SEEDS[0])]
    assert rates(known)["odm", budget] == UNTUNED


def test_each_budget_has_the_rates_of_the_nearest_one_that_was_tuned() -> None:
    chosen = {("odm", 0.05): 1.0, ("odm", 0.01): 2.0}
    found = {budget: rate_of("odm", budget, chosen) for budget in (0.005, 0.01, 0.02, 0.05, 0.1)}
    assert found == {0.005: 2.0, 0.01: 2.0, 0.02: 2.0, 0.05: 1.0, 0.1: 1.0}


def test_an_arm_has_the_rate_of_uniform_mixing_unless_its_own_is_better_with_every_seed() -> None:
    low, high = RATES[0.05]
    known = losses({"uniform": low, "odm": high, "learned": high})
    by_one_seed = Cell(TUNED_ON, "learned", 0.05, low, TUNING_SEEDS[0])
    known[by_one_seed] = known[replace(by_one_seed, learning_rate=high)] - 1e-6
    chosen = rates(known)
    found = tuple(chosen[arm, 0.05] for arm in ("uniform", "odm", "learned"))
    assert found == (low, high, low)


def test_tuning_is_of_the_arms_that_are_asked_for() -> None:
    assert {cell.arm for cell in tuning(Filter())} == set(TUNED)
    assert {cell.arm for cell in tuning(Filter(["replay_average"]))} == {"learned"}
    assert {cell.arm for cell in tuning(Filter(["learned_sharp"]))} == {"learned"}
    assert {cell.arm for cell in tuning(Filter(["uniform_more"]))} == {"uniform", "learned"}


def test_the_best_static_arm_is_chosen_on_the_tuning_runs() -> None:
    known = losses({})
    assert best_static({}, CHOSEN) is None
    better = {cell: loss - 0.5 if cell.arm == "cooldown" else loss for cell, loss in known.items()}
    assert best_static(better, rates(better)) == "cooldown"


def test_filters_pick_arms_and_regimes_and_set_budgets_and_seeds() -> None:
    wanted = Filter(["uniform", "learned"], ["natural"], [0.01], [1])
    found = [(cell.arm, cell.budget, cell.seed) for cell in grid(wanted, CHOSEN, None)]
    assert found == [("uniform", 0.01, 1), ("learned", 0.01, 1)]
    assert {cell.seed for cell in grid(Filter(seeds=[42]), CHOSEN, "temperature")} == {42}


def test_names_are_folders_of_their_own() -> None:
    assert len({cell.name for cell in ALL}) == len(ALL)
    cell = Cell("natural", "odm", 0.05, 1.5e-3, 3)
    assert cell.name == "natural/5%/odm/rate_0.0015/seed_3"


def test_the_small_grid_takes_about_an_hour_and_the_whole_one_about_a_night() -> None:
    costs = Costs(2_924_493)
    hours = costs.left(in_order(small(Filter(), CHOSEN), CHOSEN), 2) / 3600
    assert 0.75 < hours < 1.25
    assert 10 < costs.left(ALL, 2) / 3600 < 30


def test_estimates_follow_what_was_measured() -> None:
    costs = Costs(1_000_000)
    cheap, dear = (Cell("natural", "uniform", budget, 3e-3, 1) for budget in (0.01, 0.1))
    first = costs.seconds(dear)
    assert first > 2 * costs.seconds(cheap)
    costs.measured[cheap] = 2 * costs.first_guess(cheap)
    assert costs.seconds(dear) == pytest.approx(2 * first)
    doge = Cell("natural", "doge", 0.1, 3e-3, 1)
    costs.measured[doge] = 5 * costs.first_guess(doge)
    assert costs.seconds(Cell("natural", "doge", 0.1, 3e-3, 2)) == pytest.approx(5 * first)
    assert costs.seconds(dear) == pytest.approx(2 * first)


def test_time_is_said_as_people_say_it() -> None:
    assert [said(seconds) for seconds in (45, 700, 12_000)] == ["45 s", "12 min", "3 h 20 min"]
