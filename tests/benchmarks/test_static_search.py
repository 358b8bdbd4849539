"""The search for the best static mixture finds what its runs hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import static_search
import study_searched
from static_search import PROPOSED, RANDOM, best, mixture, proposal, random_mixture, reached
from study_regimes import SPOILED, TARGETS

TASKS = sorted({*SPOILED, *TARGETS, "scan", "cogs"})
COUNT = len(TASKS)
LEVELS = np.linspace(1.0, 3.0, COUNT)
SLOPES = np.linspace(0.6, 0.1, COUNT)


def run(arm: str, shares: np.ndarray, regime: str = "natural") -> dict[str, Any]:
    """A run whose losses answer to shares as the search supposes."""
    losses = LEVELS - SLOPES * np.log(shares)
    return {
        "regime": regime,
        "arm": arm,
        "tasks": TASKS,
        "average": shares.tolist(),
        "losses": losses.tolist(),
    }


def first_runs(regime: str = "natural") -> list[dict[str, Any]]:
    uniform = np.full(COUNT, 1 / COUNT)
    return [
        run("uniform", uniform, regime),
        *(run(arm, random_mixture(arm, COUNT), regime) for arm in RANDOM),
    ]


def test_for_the_mean_shares_are_proposed_as_losses_answer_to_them() -> None:
    # d/dp of -b log p: the mean is lowest where p is proportional to b.
    assert proposal("mean", first_runs()) == pytest.approx(SLOPES / SLOPES.sum(), abs=1e-4)


@pytest.mark.parametrize("goal", static_search.GOALS)
def test_a_proposal_is_better_for_its_goal_than_what_it_was_made_from(goal: str) -> None:
    runs = first_runs()
    proposed = run("proposed", proposal(goal, runs))
    assert reached(goal, proposed) < min(reached(goal, one) for one in runs)


def test_for_targets_with_the_others_kept_these_end_at_what_is_allowed_and_no_higher() -> None:
    runs = first_runs()
    targets = np.array([task in TARGETS for task in TASKS])
    uniform = np.array(runs[0]["losses"])
    free, kept = (run("", proposal("targets", runs, kept=kept)) for kept in (None, 1.1))
    ratios = np.divide(kept["losses"], uniform)[~targets]
    assert ratios.max() == pytest.approx(1.1, abs=1e-4)
    assert reached("targets", free) < reached("targets", kept) < reached("targets", runs[0])


def test_spoiled_tasks_and_all_but_the_targets_do_not_count() -> None:
    uniform = first_runs("noise")[0]
    losses = np.array(uniform["losses"])
    spoiled = np.array([task in SPOILED for task in TASKS])
    targets = np.array([task in TARGETS for task in TASKS])
    assert reached("mean", uniform) == pytest.approx(losses[~spoiled].mean())
    assert reached("targets", uniform) == pytest.approx(losses[targets].mean())


def test_the_best_is_taken_as_it_ran() -> None:
    runs = first_runs()
    chosen = best("worst quarter", runs)
    values = {one["arm"]: reached("worst quarter", one) for one in runs}
    first = min(values, key=lambda arm: values[arm])
    assert list(chosen.values()) == next(one["average"] for one in runs if one["arm"] == first)


def test_a_second_proposal_waits_for_the_first() -> None:
    with pytest.raises(SystemExit, match="run proposed, mean 1 with seed 201 first"):
        mixture("proposed, mean 2", first_runs(), COUNT)


def test_a_proposal_is_the_same_when_the_runs_after_it_are_there() -> None:
    runs = first_runs()
    later = [run(arm, random_mixture("random 9", COUNT)) for arm in PROPOSED]
    assert mixture("proposed, mean 1", runs + later, COUNT) == pytest.approx(
        mixture("proposed, mean 1", runs, COUNT)
    )


def test_a_search_that_is_not_whole_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_searched, "FILE", tmp_path / "study_search.jsonl")
    with pytest.raises(SystemExit, match="--regimes natural"):
        study_searched.searched.__wrapped__("targets", "targets")
