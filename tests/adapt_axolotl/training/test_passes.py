"""Through `axolotl train`: what counts epochs elsewhere counts passes over the data here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.launch import history, ledger, recipe, train

pytestmark = pytest.mark.slow


def test_an_epoch_is_a_pass_over_as_many_tokens_as_the_pools_hold(
    tiny: Path, tmp_path: Path
) -> None:
    config = recipe(
        tiny,
        tmp_path,
        adapt={"token_budget": "250%", "mixture": "proportional"},
        save_strategy="epoch",
        eval_strategy="epoch",
        micro_batch_size=4,
        logging_steps=100,
    )
    for key in ("datasets", "test_datasets"):
        config[key] = [{**entry, "split": "train[:80]"} for entry in config[key][:2]]
    output = train(config, tmp_path)
    told = "save_strategy: epoch and eval_strategy: epoch mean here: With `epoch`: once per pass"
    assert output.count(told) == 1
    accounts = ledger(tmp_path)
    available = sum(task["available"] for task in accounts["tasks"].values())
    assert accounts["budget"] == int(2.5 * available)
    assert accounts["left"] < available / 5
    assert all(task["repeats"] > 2.2 for task in accounts["tasks"].values())
    saved = sorted(tmp_path.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
    used = [
        sum(json.loads((one / "adapt_state.json").read_text())["ledger"]["tokens"]) for one in saved
    ]
    step = available / 5
    assert [round(tokens / available, 1) for tokens in used[:2]] == [1.0, 2.0], used
    assert available <= used[0] < available + step
    assert used[2:] == [accounts["used"]]
    # The last checkpoint is written and evaluated once, not again as the end of Trainer's epoch.
    assert output.count(f"Saving model checkpoint to {saved[-1]}") == 1
    assert output.count("'eval_loss'") + output.count('"eval_loss"') <= 4


def test_a_mixture_goes_on_learning_in_later_passes(tiny: Path, tmp_path: Path) -> None:
    """Of tasks that have no new rows left, a few validation rows are measured."""
    config = recipe(
        tiny,
        tmp_path,
        adapt={"token_budget": "300%", "learned": {"start_after": "5%"}},
        micro_batch_size=4,
        logging_steps=100,
    )
    for key in ("datasets", "test_datasets"):
        config[key] = [{**entry, "split": "train[:150]"} for entry in config[key][:3]]
    train(config, tmp_path)
    accounts, lines = ledger(tmp_path), history(tmp_path)
    # A task that is solved early gets less than its part of three passes.
    repeats = sorted(task["repeats"] for task in accounts["tasks"].values())
    assert repeats[1] > 1
    assert repeats[2] > 2
    assert lines[-1]["tokens"] > 0.8 * accounts["used"]
    assert lines[-1]["meta_tokens"] > lines[0]["meta_tokens"] == 0
    assert lines[-1]["over_noise"] is not None
    # A forward takes a third of the time of a training step: 2 % of the time, 6 % of the tokens.
    assert accounts["meta_tokens"] < 0.06 * accounts["used"]
