"""Killed with SIGKILL at any moment, a run goes on as if it had never been stopped."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import PRODUCTS, history, ledger, log_lines, recipe, train, train_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "how",
    [
        {"start_after": "5%"},
        # Reads three steps along one v; every fourth is followed by a checkpoint.
        {**PRODUCTS, "update_every": 3, "overhead": "100%", "start_after": "5%"},
        {
            **PRODUCTS,
            "update_every": 3,
            "overhead": "100%",
            "start_after": "5%",
            "estimator": "split_batches",
        },
        {"start_after": "5%", "objective": "cvar", "bounds": {"copy": 1.0}},
    ],
    ids=["training_losses", "products", "split_batches", "bounds"],
)
def test_a_run_killed_at_five_random_moments_is_the_run_that_was_not(
    how: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "adapt": {"learned": how},
        "save_strategy": "steps",
        "save_steps": 4,
        "save_total_limit": 2,
        "auto_resume_from_checkpoints": True,
        # Dropout, so that the random streams must go on too.
        "overrides_of_model_config": {"attention_dropout": 0.1},
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(recipe(tiny, whole, **changes), whole)
    steps = ledger(whole)["steps"]
    assert steps > 25

    rng = random.Random(2512)
    moments = sorted(rng.sample(range(2, steps), 4))
    config = recipe(tiny, killed, **changes)
    for moment in moments:
        # On the log line of a step, so at an arbitrary moment of the next one.
        assert train_until(config, killed, StepCounter(moment))
    # And while a checkpoint is being written.
    assert train_until(config, killed, lambda line: "Saving model checkpoint" in line)
    # In a process that shares nothing with those before it, as a user's would.
    train(config, killed, as_typed=True)

    assert ledger(killed) == ledger(whole)
    assert history(killed) == history(whole)
    assert log_lines(killed) == log_lines(whole)


class StepCounter:
    """Accepts the first log line at or beyond a step, told by Trainer's progress bar."""

    def __init__(self, step: int) -> None:
        self._step = step

    def __call__(self, line: str) -> bool:
        done = [int(number) for number in re.findall(r"\| (\d+)/\d+ \[", line)]
        return bool(done) and max(done) >= self._step
