"""Methods of others and replays, trained through Axolotl: on one process, on two, and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from adapt_axolotl.commands.card.folder import write_card
from adapt_axolotl.commands.freeze import freeze
from adapt_axolotl.commands.preview.forecast import forecast
from adapt_axolotl.commands.preview.notes import notes
from adapt_axolotl.commands.show import markdown_table
from adapt_axolotl.commands.twin import recipe_of, static_twin
from adapt_axolotl.commands.validate import validate
from adapt_axolotl.integration.recipe_config import planned_run
from tests.support.launch import TASKS, history, ledger, recipe, train, train_until

pytestmark = pytest.mark.slow

BUDGET = 2500
METHODS: dict[str, dict[str, Any]] = {
    "odm": {"mixture": "odm"},
    "group_dro": {"mixture": "group_dro", "step_size": 0.1},
    "doremi": {"mixture": "doremi", "reference": "phases"},
    # Gradients of a model that has learned nothing are large: mu holds it back.
    "doge": {"mixture": "doge", "learned": {"update_every": 3, "start_after": "5%", "mu": 1.0}},
    "replay": {"mixture": "replay", "replay": "phases", "replay_as": "permuted"},
    # What replays and references come from.
    "phases": {
        "mixture": "phases",
        "phases": [{"until": "50%", "mixture": "uniform"}, {"mixture": "proportional"}],
    },
}
TESTED = [name for name in METHODS if name != "phases"]


class Runs:
    """Runs on one process of four micro-batches of four rows a step, each trained once."""

    def __init__(self, tiny: Path, folder: Path) -> None:
        self._tiny = tiny
        self._folder = folder
        self.outputs: dict[str, str] = {}

    def config(self, name: str, folder: Path, **changes: Any) -> dict[str, Any]:
        adapt = {"learned": {}, **METHODS[name]}
        for key in ("replay", "reference"):
            if key in adapt:
                adapt[key] = str(self[adapt[key]])
        same = {
            "micro_batch_size": 4,
            "gradient_accumulation_steps": 4,
            # A checkpoint ends the reading of a meta step.
            "save_strategy": "steps",
            "save_steps": 4,
            "save_total_limit": 2,
        }
        return recipe(self._tiny, folder, adapt=adapt, **{**same, **changes})

    def __getitem__(self, name: str) -> Path:
        folder = self._folder / name
        if name not in self.outputs:
            self.outputs[name] = train(self.config(name, folder), folder)
        return folder


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tiny, tmp_path_factory.mktemp("runs"))


def proportions(folder: Path) -> np.ndarray:
    """(lines, K) of the history."""
    return np.array([[line["proportions"][task] for task in TASKS] for line in history(folder)])


@pytest.mark.parametrize("method", TESTED)
def test_the_budget_is_kept_and_the_mixture_moves(runs: Runs, method: str) -> None:
    folder = runs[method]
    report = ledger(folder)
    assert BUDGET - 16 * 11 < report["used"] <= BUDGET
    assert sum(task["tokens"] for task in report["tasks"].values()) == report["used"]
    shares = proportions(folder)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert np.abs(shares[-1] - shares[0]).max() > 0.01
    before = ledger(runs["phases"])["used"] if method in ("doremi", "replay") else 0
    assert report["tokens_spent_before"] == before


@pytest.mark.parametrize("method", TESTED)
def test_two_processes_draw_and_move_what_one_does(runs: Runs, tmp_path: Path, method: str) -> None:
    config = runs.config(method, tmp_path, gradient_accumulation_steps=2)
    train(config, tmp_path, processes=2)
    found, expected = ledger(tmp_path), ledger(runs[method])
    for key in ("used", "meta_tokens", "steps"):
        assert found[key] == expected[key]
    for task in TASKS:
        for key in ("tokens", "examples"):
            assert found["tasks"][task][key] == expected["tasks"][task][key]
    # Sums over processes round differently, and DoReMi's steps, of one for each nat, add that up.
    tolerance = {"replay": 1e-12, "doremi": 1e-5}.get(method, 1e-6)
    assert proportions(tmp_path) == pytest.approx(proportions(runs[method]), abs=tolerance)


@pytest.mark.parametrize("method", TESTED)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    runs: Runs, tmp_path: Path, method: str
) -> None:
    config = runs.config(method, tmp_path, auto_resume_from_checkpoints=True)
    assert train_until(config, tmp_path, lambda line: " 11/" in line)
    train(config, tmp_path)
    assert ledger(tmp_path) == ledger(runs[method])
    assert history(tmp_path) == history(runs[method])


@pytest.mark.parametrize("method", TESTED)
def test_the_commands_know_them(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    folder = runs[method]
    monkeypatch.chdir(tmp_path)
    assert validate(folder / "recipe.yml", ["all"]).passed
    planned = planned_run(folder / "recipe.yml", 1)
    plan = forecast(planned.plan, planned.tasks, planned.spec.adapt, planned.meta)
    said = " ".join(notes(plan, 64))
    assert f"Mixture: {method}" in said
    assert ("It does not learn" in said) == (method == "replay")
    assert (folder / "adapt" / "mixture.png").is_file()
    assert "tokens left" in (folder / "adapt" / "mixture.html").read_text()
    assert "| yes_no |" in markdown_table([folder, runs["phases"]])
    twin = yaml.safe_load(static_twin(recipe_of(folder), "uniform").text)
    assert twin["adapt"] == {"token_budget": BUDGET, "mixture": "uniform"}
    write_card(folder, tmp_path / "card", None)
    card = (tmp_path / "card" / "README.md").read_text()
    assert ("was learned while it trained" in card) == (method != "replay")
    if method == "replay":
        with pytest.raises(ValueError, match="its mixture is replay, which its recipe says"):
            freeze(folder, "average")
    else:
        frozen = yaml.safe_load(freeze(folder, "average"))["adapt"]
        average = json.loads((folder / "adapt" / "mixture.json").read_text())["average"]
        assert frozen["weights"] == pytest.approx(average, abs=1e-6)
        assert set(frozen) == {"token_budget", "mixture", "weights"}


def test_a_run_that_was_replayed_must_still_be_there(runs: Runs, tmp_path: Path) -> None:
    config = runs.config("replay", tmp_path)
    config["adapt"]["replay"] = str(tmp_path / "gone")
    output = train(config, tmp_path, fails=True)
    assert "adapt.replay: " in output
    assert "give the output_dir of a run that has ended" in output
