"""A frozen recipe is the learned run's own, and draws what it learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from adapt_axolotl.commands.freeze import freeze
from adapt_axolotl.recipe.read import read_recipe
from tests.support.launch import ledger, recipe, train
from tests.support.made_records import RECIPE, made_records


def test_only_the_block_and_the_output_directory_are_new(tmp_path: Path) -> None:
    run = made_records(tmp_path / "learned")
    text = freeze(run, "final")
    before, _, after = RECIPE.partition("adapt:\n")
    opening, rest = before.split("\n\n", 1)
    assert rest in text
    assert opening not in text  # it tells of the learned recipe
    assert (
        "datasets:" + after.partition("datasets:")[2].replace("out   # here", "out_frozen") in text
    )
    frozen = yaml.safe_load(text)
    assert frozen["adapt"] == {
        "token_budget": 5000,
        "unit": "tokens",
        "mixture": "weights",
        "weights": {"a": 0.5, "b": 0.2, "c": 0.3},
    }
    assert frozen["output_dir"] == "out_frozen"


def test_the_chosen_mixture_is_frozen(tmp_path: Path) -> None:
    run = made_records(tmp_path / "learned")
    mixtures = {"final": {"a": 0.1, "b": 0.2, "c": 0.7}, "average": {"a": 0.3, "b": 0.3, "c": 0.4}}
    (run / "adapt" / "mixture.json").write_text(json.dumps(mixtures))
    assert yaml.safe_load(freeze(run, "final"))["adapt"]["weights"] == mixtures["final"]
    assert yaml.safe_load(freeze(run, "average"))["adapt"]["weights"] == mixtures["average"]


def test_a_task_with_tokens_of_its_own_keeps_them(tmp_path: Path) -> None:
    run = made_records(tmp_path / "learned")
    written = run / "adapt" / "recipe.yml"
    written.write_text(written.read_text().replace("adapt:\n", "adapt:\n  tokens: {a: 2000}\n", 1))
    block = yaml.safe_load(freeze(run, "final"))["adapt"]
    assert block["tokens"] == {"a": 2000}
    assert block["weights"] == {"b": 0.2, "c": 0.3}


def test_what_cannot_be_frozen_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no adapt/config\.yml; give the output_dir of a run"):
        freeze(tmp_path, "final")
    with pytest.raises(ValueError, match="its mixture is uniform, which its recipe says already"):
        freeze(made_records(tmp_path / "uniform", mixture="uniform"), "final")
    with pytest.raises(ValueError, match=r"its run has not ended .* resume it"):
        freeze(made_records(tmp_path / "killed", ended=False), "final")
    unmoved = made_records(tmp_path / "unmoved")
    (unmoved / "adapt" / "history.jsonl").write_text("")
    with pytest.raises(ValueError, match="it took no meta step"):
        freeze(unmoved, "final")
    (unmoved / "adapt" / "recipe.yml").unlink()
    with pytest.raises(ValueError, match="train the recipe again"):
        freeze(unmoved, "final")


def test_its_heading_is_true_of_it_and_comments_of_keys_stay(tmp_path: Path) -> None:
    run = made_records(tmp_path / "learned")
    file = run / "adapt" / "recipe.yml"
    comment = "# Learned.\r\n#\r\n# Launch: axolotl train it.yml\r\n\r\n# More of it.\r\n\r\n"
    file.write_bytes((comment + "# of the key\r\n" + RECIPE.partition("\n\n")[2]).encode())
    text = freeze(run, "final")
    assert "Launch: axolotl train it.yml" not in text
    assert "More of it" not in text
    assert "\r\n\r\n# of the key\r\nbase_model: org/model   # why" in text
    file.write_text("# of the key\n" + RECIPE.partition("\n\n")[2])
    assert "# of the key\nbase_model" in freeze(run, "final")


@pytest.mark.slow
def test_a_frozen_run_draws_the_shares_that_were_learned(tiny: Path, tmp_path: Path) -> None:
    learned = tmp_path / "learned"
    train(recipe(tiny, learned), learned)
    # What `axolotl train` was given is what is kept.
    assert (learned / "adapt" / "recipe.yml").read_bytes() == (learned / "recipe.yml").read_bytes()
    frozen = yaml.safe_load(freeze(learned, "average"))
    assert read_recipe(yaml.safe_load(freeze(learned, "average"))).mixture == "weights"
    train(frozen, tmp_path / "launch")

    report = ledger(tmp_path / "learned_frozen")
    average = json.loads((learned / "adapt" / "mixture.json").read_text())["average"]
    drawn = {name: task["tokens"] / report["used"] for name, task in report["tasks"].items()}
    # Shares are exact to about a row, and a row has at most 11 of some 2,500 tokens.
    assert drawn == pytest.approx(average, abs=0.01)
    # The mixture had moved by more than that: equal shares would not pass.
    assert max(abs(share - 0.2) for share in average.values()) > 0.02
    assert report["meta_tokens"] == 0
    assert report["budget"] == 2500
