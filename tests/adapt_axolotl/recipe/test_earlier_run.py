"""Runs that a recipe's mixture comes from: what is read of them and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.mixture.scheduled import Phases
from adapt_axolotl.recipe.earlier_run import (
    EarlierRun,
    check_output_directory,
    earlier_run,
    warn_of_other_rows,
)
from adapt_axolotl.recipe.read import mistakes
from adapt_axolotl.run.described import schedule
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from tests.support.made_records import made_records
from tests.support.plain_runs import make_plan, make_pools, train

NAMES = ("a", "b", "c")
BUDGET = 5000
PHASES = Phases(np.array([0.4, 1.0]), np.array([[0.7, 0.1, 0.2], [0.2, 0.2, 0.6]]))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run of two phases, the first of 40 % of it."""
    folder = tmp_path / "other"
    return made_records(folder, mixture="phases", schedule=PHASES, initial=PHASES.at(0.0))


def config(folder: Path, how: str | None = None, **changes: Any) -> AdaptConfig:
    block = {"token_budget": BUDGET, "mixture": "replay", "replay": str(folder), "replay_as": how}
    return AdaptConfig(**{**block, **changes})


def read(adapt: AdaptConfig, names: tuple[str, ...] = NAMES) -> EarlierRun:
    run = earlier_run(adapt, names)
    assert run is not None
    return run


def plan_of(adapt: AdaptConfig, seed: int = 0) -> RunPlan:
    made = schedule(adapt, make_pools(), BUDGET, read(adapt), seed)
    assert made is not None
    return make_plan(budget=BUDGET, initial=made.at(0.0), schedule=made, seed=seed)


def run_of(plan: RunPlan) -> AdaptRun:
    return AdaptRun(plan, None, lambda rows: np.ones(3), None)


def average(folder: Path) -> np.ndarray:
    mixture = json.loads((folder / "adapt" / "mixture.json").read_text())
    return np.array([mixture["average"][name] for name in NAMES])


HOW = [None, "average", "schedule", "permuted", "reversed", "shuffled", "walk"]


@pytest.mark.parametrize("how", HOW)
def test_a_replay_draws_what_the_run_drew(other: Path, how: str | None) -> None:
    run = run_of(plan_of(config(other, how)))
    run.start()
    train(run)
    report = run.ledger.report()
    assert BUDGET - 8 * 80 < report["used"] <= BUDGET
    drawn = np.array([task["tokens"] for task in report["tasks"].values()]) / report["used"]
    expected = average(other)
    if how == "permuted":
        assert sorted(drawn) == pytest.approx(sorted(expected), abs=0.03)
        assert np.argmax(drawn) != np.argmax(expected)
    elif how == "walk":
        assert drawn != pytest.approx(expected, abs=0.03)
    else:
        assert drawn == pytest.approx(expected, abs=0.03)


def test_the_schedule_is_the_runs_to_within_a_step(other: Path) -> None:
    forward, backward = (plan_of(config(other, how)).schedule for how in ("schedule", "reversed"))
    assert forward is not None
    assert backward is not None
    assert forward.at(0.35) == pytest.approx(PHASES.shares[0], abs=1e-12)
    assert forward.at(0.45) == pytest.approx(PHASES.shares[1], abs=1e-12)
    assert backward.at(0.55) == pytest.approx(PHASES.shares[1], abs=1e-12)
    assert backward.at(0.65) == pytest.approx(PHASES.shares[0], abs=1e-12)


@pytest.mark.parametrize("how", HOW[1:])
def test_a_resumed_replay_goes_on_with_the_same_rows(other: Path, how: str) -> None:
    whole, first, rest = (run_of(plan_of(config(other, how))) for _ in range(3))
    whole.start()
    train(whole)
    first.start()
    train(first, stop=13)
    rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest.start()
    train(rest, begin=13)
    assert rest.ledger.report() == whole.ledger.report()
    assert (rest.average() == whole.average()).all()


def test_a_run_that_changed_since_the_checkpoint_is_refused(other: Path) -> None:
    run = run_of(plan_of(config(other, "schedule")))
    run.start()
    train(run, stop=3)
    file = other / "adapt" / "history.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[-5:]))
    with pytest.raises(ValueError, match=r"digest of the replayed mixtures.* then, .* now"):
        run_of(plan_of(config(other, "schedule"))).load_state_dict(run.state_dict())


def test_a_part_that_leaves_a_task_out_does_not_go_with_a_cap_on_repeats(tmp_path: Path) -> None:
    phases = Phases(PHASES.ends, np.array([[0.5, 0.0, 0.5], [0.2, 0.2, 0.6]]))
    folder = tmp_path / "gap"
    made_records(folder, mixture="phases", schedule=phases, initial=phases.at(0.0))
    with pytest.raises(ValueError, match=r"max_repeats: .*gap left b out for a part of its run"):
        plan_of(config(folder, "reversed", max_repeats=4))
    assert plan_of(config(folder, max_repeats=4)).schedule is not None


def test_tasks_are_taken_by_their_names(other: Path) -> None:
    run = read(config(other))
    made = schedule(config(other, "schedule"), make_pools(), BUDGET, run)
    assert isinstance(made, Phases)
    renamed = {name: run.mixture["average"][name] for name in reversed(NAMES)}
    turned = EarlierRun(
        run.key,
        run.folder,
        run.ledger,
        {"average": renamed, "initial": {name: run.mixture["initial"][name] for name in renamed}},
        run.history,
        run.unit,
    )
    again = schedule(config(other, "schedule"), make_pools(), BUDGET, turned)
    assert isinstance(again, Phases)
    assert (again.shares == made.shares).all()


def test_all_tokens_of_the_runs_before_are_counted(other: Path) -> None:
    file = other / "adapt" / "ledger.json"
    ledger = json.loads(file.read_text())
    assert read(config(other)).tokens_spent == ledger["used"]
    file.write_text(json.dumps({**ledger, "meta_tokens": 70, "tokens_spent_before": 1000}))
    assert read(config(other)).tokens_spent == ledger["used"] + 1070


def test_the_losses_of_a_reference_are_its_last_ones(other: Path) -> None:
    adapt = AdaptConfig(token_budget="5%", mixture="doremi", reference=str(other))
    assert read(adapt).losses(NAMES) == [1.0, 1.5, 2.0]
    # It may have tasks that this recipe has not.
    assert read(adapt, ("c", "a")).losses(("c", "a")) == [2.0, 1.0]


def test_a_recipe_without_such_a_run_has_none() -> None:
    assert earlier_run(AdaptConfig(token_budget="5%"), NAMES) is None


def test_what_cannot_be_read_says_what_to_do(other: Path, tmp_path: Path) -> None:
    killed = made_records(tmp_path / "killed", mixture="uniform", ended=False)
    for folder, says in (
        (tmp_path / "missing", r"adapt\.replay: .*missing: no adapt/ledger\.json; give the outp"),
        (killed, r"adapt\.replay: .*killed: no adapt/ledger\.json; give the output_dir of a run"),
    ):
        with pytest.raises(ValueError, match=says):
            read(config(folder))
    with pytest.raises(ValueError, match=r"other did not train on task 'd'; give a run over"):
        read(config(other), (*NAMES, "d"))
    with pytest.raises(ValueError, match=r"other trained on task 'c' too, which this recipe"):
        read(config(other), ("a", "b"))
    with pytest.raises(ValueError, match=r"count tokens, .* of this recipe examples; set unit: t"):
        read(config(other, unit="examples"))
    with pytest.raises(ValueError, match=r"adapt\.replay: .* own output_dir.*; set another"):
        check_output_directory(config(other), str(other))
    (other / "adapt" / "mixture.json").write_text("{")
    with pytest.raises(ValueError, match=r"adapt\.replay: .*mixture\.json: is damaged"):
        read(config(other))
    (other / "adapt" / "config.yml").write_text("")
    with pytest.raises(ValueError, match=r"adapt\.replay: .*config\.yml: is damaged"):
        read(config(other))


def test_a_reference_on_other_rows_is_told(other: Path, caplog: pytest.LogCaptureFixture) -> None:
    adapt = AdaptConfig(token_budget="5%", mixture="doremi", reference=str(other))
    with caplog.at_level(logging.WARNING):
        for run in (None, read(adapt), read(config(other)), replace(read(adapt), data_digest="a")):
            warn_of_other_rows(run, "a")
        assert not caplog.messages
        warn_of_other_rows(replace(read(adapt), data_digest="b"), "a")
    assert "trained or measured other rows than this recipe's" in caplog.messages[0]


def test_a_reference_without_a_loss_is_refused(other: Path) -> None:
    file = other / "adapt" / "ledger.json"
    ledger = json.loads(file.read_text())
    ledger["tasks"]["b"]["last_validation_loss"] = None
    file.write_text(json.dumps(ledger))
    adapt = AdaptConfig(token_budget="5%", mixture="group_dro", reference=str(other))
    with pytest.raises(ValueError, match=r"adapt\.reference: .* last validation loss of task 'b'"):
        read(adapt)


def test_round_robin_runs_count_examples(other: Path) -> None:
    file = other / "adapt" / "config.yml"
    written = yaml.safe_load(file.read_text())
    written["recipe"]["adapt"] = {"mixture": "round_robin"}
    file.write_text(yaml.safe_dump(written))
    assert read(config(other, unit="examples")).unit == "examples"


def test_validate_finds_it_too(raw: dict[str, Any], other: Path) -> None:
    raw["adapt"] |= {"mixture": "replay", "replay": str(other)}
    (found,) = mistakes(raw)
    assert "trained on task 'c' too" in found
