"""With several seeds the seed is the unit, and what is claimed says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adapt_eval.comparison.schema import Comparison
from adapt_eval.report.words import headline, remarks
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import compared, made_run

ITEMS = 1500


def arm(
    folder: Path, name: str, level: float, deviation: float, seeds: int, training: bool = False
) -> str:
    """Runs of one way of training: seeds apart by a deviation, on items of one difficulty each."""
    random = np.random.default_rng(int(1000 * level) + len(name))
    ease = np.random.default_rng(0).normal(0, 0.15, (2, ITEMS))
    runs = []
    for seed in range(seeds):
        own = random.normal(0, deviation)
        right = random.uniform(size=(2, ITEMS)) < level + ease + own
        scores = {"sums": list(map(float, right[0])), "passages": list(map(float, right[1]))}
        run = made_run(folder / f"{name}{seed}", scores)
        if training:
            (run / "adapt").mkdir()
            (run / "adapt" / "config.yml").write_text(f"recipe: {{seed: {10 + seed}}}\n")
        runs.append(str(run))
    return f"{name}=" + ",".join(runs)


def test_seeds_that_differ_more_than_the_arms_are_no_difference_of_methods(tmp_path: Path) -> None:
    base = arm(tmp_path, "uniform", 0.50, 0.04, 3)
    new = arm(tmp_path, "adapt", 0.53, 0.04, 3)
    result = compared(base, new)
    suite = result.suite
    assert suite.df < 20
    assert suite.standard_error > 0.015
    assert suite.verdict == "underpowered"
    assert suite.claim == (
        "no difference between method adapt and method uniform is shown over 3 and 3 training "
        "seeds and over items"
    )
    assert suite.claim in headline(result, suite).replace("No difference", "no difference")


def test_a_clear_difference_of_methods_is_claimed_over_seeds_and_items(tmp_path: Path) -> None:
    base = arm(tmp_path, "uniform", 0.40, 0.01, 5, training=True)
    new = arm(tmp_path, "adapt", 0.55, 0.01, 5, training=True)
    result = compared(base, new)
    assert result.suite.verdict == "better"
    assert result.suite.seeds_paired is True
    assert result.suite.claim == (
        "method adapt beats method uniform over 5 training seeds that both share and over items"
    )
    assert result.benchmarks[0].test == "two-level t, seeds and items"
    assert "seed is the unit" in result.notes[0]


def test_seeds_are_paired_by_their_number_not_by_their_place(tmp_path: Path) -> None:
    base = arm(tmp_path, "uniform", 0.40, 0.05, 4, training=True)
    new = arm(tmp_path, "adapt", 0.45, 0.05, 4, training=True)
    name, _, runs = new.partition("=")
    turned = f"{name}=" + ",".join(reversed(runs.split(",")))
    one, other = compared(base, new).suite, compared(base, turned).suite
    assert one.standard_error == pytest.approx(other.standard_error, rel=1e-12)
    fewer = f"{name}=" + ",".join(runs.split(",")[1:])
    assert compared(base, fewer).suite.seeds_paired is False


def test_one_seed_says_nothing_about_methods(tmp_path: Path) -> None:
    base = arm(tmp_path, "uniform", 0.40, 0.0, 1)
    new = arm(tmp_path, "adapt", 0.55, 0.0, 1)
    suite = compared(base, new).suite
    assert suite.claim == "these two models differ; nothing is said about methods"
    assert suite.seeds_paired is None
    several = arm(tmp_path / "more", "adapt", 0.55, 0.0, 3)
    mixed = compared(base, several).suite
    assert mixed.claim == "these models differ; nothing is said about methods"


def ranks(result: Comparison) -> dict[str, tuple[int, int]]:
    return {one.run: (one.best, one.worst) for one in result.ranking}


def test_ranks_leave_open_what_the_pairs_leave_open(tmp_path: Path) -> None:
    arms = [
        arm(tmp_path, "uniform", 0.40, 0.005, 4),
        arm(tmp_path, "adapt", 0.70, 0.005, 4),
        arm(tmp_path, "other", 0.40, 0.005, 4),
    ]
    result = compared(*arms)
    found = ranks(result)
    assert found["adapt"] == (1, 1)
    assert found["uniform"] == found["other"] == (2, 3)
    assert result.ranking[0].run == "adapt"
    assert any("adapt 1; " in line and "2 to 3" in line for line in remarks(result))
    assert compared(*arms[:2]).ranking == []


@pytest.mark.slow
def test_the_plan_says_how_many_seeds_and_items_it_takes(tmp_path: Path, command: Command) -> None:
    base = arm(tmp_path, "uniform", 0.40, 0.02, 4)
    new = arm(tmp_path, "adapt", 0.45, 0.02, 4)
    done = command("compare", base, new, "--plan", "--json", "--smallest-effect", "0.05")
    assert done.returncode == 0, done.stderr
    suite, *lines = json.loads(done.stdout)["lines"]
    assert [one["what"] for one in lines] == ["sums", "passages"]
    assert suite["what"] == "the suite"
    assert not suite["assumed"]
    assert 0.005 < suite["seed_deviation"] < 0.05
    assert suite["seeds"]["1"] >= suite["seeds"]["4"] >= 2
    shown = command("compare", base, new, "--plan", COLUMNS="80")
    assert "seeds an arm to find 3.0 points in 4 of 5 cases" in shown.stdout
    single = [one.split(",")[0] for one in (base, new)]
    assumed = json.loads(command("compare", *single, "--plan", "--json").stdout)["lines"]
    assert [one["seed_deviation"] for one in assumed[:3]] == [0.005, 0.01, 0.02]
    assert all(one["assumed"] for one in assumed)
    refused = command("compare", base, new, "--plan", "--markdown")
    assert refused.returncode == 2
