"""`axolotl train` with the plugin, end to end, on the tiny model."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from adapt_axolotl.commands.freeze import freeze
from adapt_axolotl.recipe.read import read_recipe
from tests.support.launch import FALLS, PRODUCTS, TASKS, history, ledger, log_lines, recipe, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One learned run and its output."""
    folder = tmp_path_factory.mktemp("learned")
    config = recipe(tiny, folder, save_strategy="steps", save_steps=1000)
    return folder, train(config, folder)


def test_the_budget_is_kept_to_the_token_and_shared_out(learned: tuple[Path, str]) -> None:
    report = ledger(learned[0])
    assert report["unit"] == "supervised_tokens"
    assert report["budget"] == 2500
    assert sum(task["tokens"] for task in report["tasks"].values()) == report["used"]
    assert report["used"] + report["left"] == 2500
    # The largest batch of 16 rows has fewer than 16 x 11 tokens: the run ended for want of budget.
    assert 0 <= report["left"] < 16 * 11
    assert sum(task["examples"] for task in report["tasks"].values()) == 16 * report["steps"]


def test_the_learning_rate_ends_with_the_budget(learned: tuple[Path, str]) -> None:
    rates = [line["learning_rate"] for line in log_lines(learned[0]) if "learning_rate" in line]
    assert max(rates) == pytest.approx(3e-3, rel=0.05)
    # The last step begins with less than two of the largest batches left, 14 % of the budget: there
    # a cosine is below 5 % of its top.
    assert rates[-1] < 0.05 * 3e-3


def test_every_meta_step_is_recorded_and_the_mixture_moves(learned: tuple[Path, str]) -> None:
    lines = history(learned[0])
    assert len(lines) > 5
    trained = [line["tokens"] for line in lines]
    # Whenever the tokens trained on have grown by 15 %, or a step where that is more.
    grown = [after / before for before, after in pairwise(trained)]
    assert min(grown) > 1.1
    assert np.median(grown) < 1.3
    for line in lines:
        shares = list(line["proportions"].values())
        assert sum(shares) == pytest.approx(1, abs=1e-12)
        assert list(line["proportions"]) == list(line["scores"]) == list(TASKS)
        assert list(line["score_ages"]) == list(TASKS)
        assert 0 in line["score_ages"].values()
        assert line["estimator"] == "training_losses"
        assert line["entropy"] == pytest.approx(-sum(p * np.log(p) for p in shares), abs=1e-12)
    assert max(lines[-1]["proportions"].values()) > 0.22


def test_the_run_directory_is_complete(learned: tuple[Path, str]) -> None:
    folder = learned[0] / "adapt"
    mixture = json.loads((folder / "mixture.json").read_text())
    for kind in ("final", "average"):
        assert list(mixture[kind]) == list(TASKS)
        assert sum(mixture[kind].values()) == pytest.approx(1, abs=1e-9)
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert config["recipe"]["adapt"]["token_budget"] == 2500
    assert config["versions"]["axolotl"].startswith("0.19")
    assert set(config["git"] or {"commit": 0, "dirty": 0}) == {"commit", "dirty"}
    page = (folder / "mixture.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page
    assert (folder / "mixture.png").read_bytes().startswith(b"\x89PNG")


def test_progress_metrics_and_table_are_shown(learned: tuple[Path, str]) -> None:
    output = learned[1]
    assert "/2,500 tokens | " in output
    assert "'adapt/proportion/copy'" in output
    assert "first loss" in output
    assert "What was measured of the tasks differs" in output


def test_the_command_as_it_is_typed_trains_the_same_run(
    learned: tuple[Path, str], tiny: Path, tmp_path: Path
) -> None:
    """In a process of its own, started by accelerate, against the one forked after its imports."""
    config = recipe(tiny, tmp_path, save_strategy="steps", save_steps=1000)
    output = train(config, tmp_path, as_typed=True)
    assert ledger(tmp_path) == ledger(learned[0])
    assert history(tmp_path) == history(learned[0])
    assert log_lines(tmp_path) == log_lines(learned[0])
    for said in ("adapt/proportion/copy", "first loss", "Model successfully saved to"):
        assert output.count(said) == learned[1].count(said) > 0


def shares(report: dict[str, Any]) -> list[float]:
    return [task["tokens"] / report["used"] for task in report["tasks"].values()]


@pytest.mark.parametrize(
    ("adapt", "expected"),
    [
        ({"mixture": "uniform"}, [0.2] * 5),
        (
            {"mixture": "weights", "weights": dict(zip(TASKS, [4, 3, 2, 1, 0], strict=True))},
            [0.4, 0.3, 0.2, 0.1, 0.0],
        ),
    ],
)
def test_a_static_mixture_spends_its_shares(
    tiny: Path, tmp_path: Path, adapt: dict[str, Any], expected: list[float]
) -> None:
    train(recipe(tiny, tmp_path, adapt=adapt), tmp_path)
    report = ledger(tmp_path)
    assert shares(report) == pytest.approx(expected, abs=0.01)
    assert report["meta_tokens"] == 0
    lines = history(tmp_path)
    assert len(lines) == report["steps"]
    assert all(line["estimator"] is None for line in lines)


def test_packing_accumulation_checkpointing_and_lora_together(tiny: Path, tmp_path: Path) -> None:
    config = recipe(
        tiny,
        tmp_path,
        sample_packing=True,
        micro_batch_size=2,
        gradient_checkpointing=True,
        eval_steps=20,
        adapter="lora",
        lora_r=4,
        lora_alpha=8,
        lora_dropout=0.05,
        lora_target_modules=["q_proj", "v_proj", "down_proj"],
        lora_mlp_kernel=False,
        lora_qkv_kernel=False,
        lora_o_kernel=False,
        lora_embedding_kernel=False,
        adapt={
            "learned": {
                **PRODUCTS,
                "update_every": 2,
                "start_after": 0,
                "estimator": "in_backward",
            },
            "charge_meta_tokens": True,
            "max_repeats": 3,
        },
    )
    output = train(config, tmp_path)
    assert "'eval_reverse_loss'" in output  # Axolotl's own evaluation, of every task
    report = ledger(tmp_path)
    assert "task scores by in_backward: agrees" in output
    assert report["meta_tokens"] > 0
    assert report["used"] + report["meta_tokens"] <= 2500
    assert report["left"] == 2500 - report["used"] - report["meta_tokens"]
    assert any(line["estimator"] == "in_backward" for line in history(tmp_path))
    assert all(line["left_out"] == 0.0 for line in history(tmp_path))


@pytest.mark.parametrize(
    "how",
    [
        {"entropy_weight": 1e300},
        {**FALLS, "entropy_weight": 1e300},
        {**PRODUCTS, "update_every": 3, "step_size": 1e-300},
    ],
    ids=["training_losses", "loss_falls", "products"],
)
def test_meta_steps_leave_the_training_stream_alone(
    how: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    """A learned run whose mixture cannot move trains like the uniform run, dropout included."""
    frozen, uniform = tmp_path / "frozen", tmp_path / "uniform"
    changes = {
        "overrides_of_model_config": {"attention_dropout": 0.1},
        "save_strategy": "steps",
        "save_steps": 1000,
    }
    still = {"learned": {**how, "start_after": 0}}
    train(recipe(tiny, frozen, adapt=still, **changes), frozen)
    train(recipe(tiny, uniform, adapt={"mixture": "uniform"}, **changes), uniform)
    assert (ledger(frozen)["meta_tokens"] > 0) == ("measure" in how)
    assert len(history(frozen)) > 3
    losses = [[line["loss"] for line in log_lines(f) if "loss" in line] for f in (frozen, uniform)]
    assert losses[0] == losses[1]


def test_an_edited_data_file_is_read_again(tiny: Path, tmp_path: Path) -> None:
    config = recipe(tiny, tmp_path / "run", adapt={"mixture": "uniform", "token_budget": 600})
    copy = tmp_path / "copy.jsonl"
    rows = (tiny / "data" / "copy" / "train.jsonl").read_text().splitlines(keepends=True)
    config["datasets"][1]["path"] = str(copy)
    config["dataset_prepared_path"] = str(tmp_path / "prepared")
    available = []
    for count in (900, 500):
        copy.write_text("".join(rows[:count]))
        train(config, tmp_path / "run")
        available.append(ledger(tmp_path / "run")["tasks"]["copy"]["available"])
    assert available[1] < 0.6 * available[0]


def test_a_mixture_is_learned_where_layers_are_trained_in_turns(tiny: Path, tmp_path: Path) -> None:
    """LISA freezes and thaws layers every few steps; losses do not mind."""
    lisa = {"lisa_n_layers": 1, "lisa_step_interval": 2, "lisa_layers_attr": "model.layers"}
    train(recipe(tiny, tmp_path, **lisa), tmp_path)
    lines = history(tmp_path)
    assert len(lines) > 5
    assert lines[-1]["over_noise"] > 1
    report = ledger(tmp_path)
    assert 0 <= report["left"] < 16 * 11


def test_targets_get_what_the_others_leave(tiny: Path, tmp_path: Path) -> None:
    learned = {"targets": ["copy", "reverse"], "start_after": "5%"}
    train(recipe(tiny, tmp_path, adapt={"learned": learned}), tmp_path)
    shares = history(tmp_path)[-1]["proportions"]
    others = [share for task, share in shares.items() if task not in learned["targets"]]
    assert shares["copy"] + shares["reverse"] > 0.8
    # The floor is a tenth of a uniform share.
    assert min(others) > 0.1 / len(TASKS)


@pytest.mark.parametrize("mixture", ["learned", "proportional"])
def test_a_task_gets_its_number_of_tokens(mixture: str, tiny: Path, tmp_path: Path) -> None:
    train(recipe(tiny, tmp_path, adapt={"mixture": mixture, "tokens": {"copy": 400}}), tmp_path)
    report = ledger(tmp_path)
    assert 400 - 11 < report["tasks"]["copy"]["tokens"] <= 400  # no row is longer than 11
    assert 0 <= report["left"] < 16 * 11
    shares = [line["proportions"]["copy"] for line in history(tmp_path)]
    assert shares == pytest.approx([400 / 2500] * len(shares))


@pytest.fixture(scope="module")
def for_a_target(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for `reverse`, which it is not trained on."""
    folder = tmp_path_factory.mktemp("for_a_target")
    train(recipe_for_a_target(tiny, folder), folder)
    return folder


def recipe_for_a_target(tiny: Path, folder: Path) -> dict[str, Any]:
    learned = {"measure": "products", "update_every": 2, "start_after": "5%"}
    config = recipe(tiny, folder, adapt={"learned": learned})
    config["datasets"] = [one for one in config["datasets"] if one["task"] != "reverse"]
    for entry in config["test_datasets"]:
        if entry["task"] == "reverse":
            entry["target"] = entry.pop("task")
            entry["weight"] = 2
    return config


def test_a_target_without_training_rows_is_measured_and_never_drawn(for_a_target: Path) -> None:
    tasks = ledger(for_a_target)["tasks"]
    assert tasks["reverse"]["tokens"] == tasks["reverse"]["rows"] == 0
    assert tasks["reverse"]["first_validation_loss"] > tasks["reverse"]["last_validation_loss"]
    lines = history(for_a_target)
    assert len(lines) > 5
    for line in lines:
        assert line["proportions"]["reverse"] == 0
        assert sum(line["proportions"].values()) == pytest.approx(1, abs=1e-12)
        assert line["scores"]["reverse"] is None
    told = [line for line in lines if line["over_noise"] is not None]
    assert told
    assert told[-1]["deviations"]["copy"] is not None


def test_meta_steps_for_a_target_read_its_rows_only(for_a_target: Path) -> None:
    """16 rows are what the recipe's overhead allows; each has at most 11 supervised tokens."""
    report = ledger(for_a_target)
    assert 0 < report["meta_tokens"] <= len(history(for_a_target)) * 16 * 11


def test_the_weights_of_a_frozen_run_for_a_target_leave_it_out(for_a_target: Path) -> None:
    frozen = yaml.safe_load(freeze(for_a_target, "average"))
    assert list(frozen["adapt"]["weights"]) == ["constant", "copy", "yes_no", "noise"]
    read_recipe(frozen)
