"""Evaluation is per task; a metric over all of them chooses the best checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import TASKS, recipe, train


def trainer_state(folder: Path) -> dict[str, Any]:
    last = max(folder.glob("checkpoint-*[0-9]"), key=lambda p: int(p.name.split("-")[1]))
    state: dict[str, Any] = json.loads((last / "trainer_state.json").read_text())
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mixture", "metric", "targets"),
    [
        ("learned", "eval_objective", None),
        ("uniform", None, None),
        ("learned", "eval_copy_loss", ["copy"]),
        ("learned", "eval_objective", ["copy"]),
    ],
)
def test_the_best_checkpoint_is_loaded(
    tiny: Path, tmp_path: Path, mixture: str, metric: str | None, targets: list[str] | None
) -> None:
    config = recipe(
        tiny,
        tmp_path,
        adapt={
            "mixture": mixture,
            "eval_weights": {task: 1 + (task == "copy") for task in TASKS},
            "learned": {"start_after": "5%", **({} if targets is None else {"targets": targets})},
        },
        eval_steps=5,
        save_strategy="steps",
        save_steps=5,
        save_total_limit=20,
        load_best_model_at_end=True,
        **({} if metric is None else {"metric_for_best_model": metric}),
    )
    train(config, tmp_path)
    state = trainer_state(tmp_path)
    watched = metric or "eval_loss"
    found = {line["step"]: line[watched] for line in state["log_history"] if watched in line}
    assert len(found) >= 3
    # The best is the smallest; the logs are rounded.
    best = min(found, key=lambda step: found[step])
    assert state["best_global_step"] == best
    assert state["best_metric"] == pytest.approx(found[best], rel=1e-3)
    lines = [line for line in state["log_history"] if line["step"] == best]
    of_tasks = {
        task: line[f"eval_{task}_loss"]
        for line in lines
        for task in TASKS
        if f"eval_{task}_loss" in line
    }
    first = json.loads((tmp_path / "adapt" / "ledger.json").read_text())["tasks"]["copy"]
    if targets is not None and metric == "eval_objective":
        # Of one task alone: its loss over its first one.
        of_target = of_tasks["copy"] / first["first_validation_loss"]
        assert state["best_metric"] == pytest.approx(of_target, rel=1e-2)
    together = next(line for line in lines if "eval_loss" in line)
    assert together["eval_worst_loss"] == pytest.approx(max(of_tasks.values()), rel=1e-3)
    mean = (sum(of_tasks.values()) + of_tasks["copy"]) / (len(TASKS) + 1)
    assert together["eval_loss"] == pytest.approx(mean, rel=1e-3)


@pytest.mark.slow
def test_early_stopping_counts_evaluations_and_not_tasks(tiny: Path, tmp_path: Path) -> None:
    """A rate of almost 0 never improves: the run stops after the patience, not within one
    evaluation of five tasks."""
    config = recipe(
        tiny,
        tmp_path,
        adapt={"mixture": "uniform"},
        learning_rate=1e-12,
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        metric_for_best_model="eval_copy_loss",
        early_stopping_patience=3,
    )
    train(config, tmp_path)
    state = trainer_state(tmp_path)
    evaluations = [line["step"] for line in state["log_history"] if "eval_worst_loss" in line]
    assert evaluations == [0, 2, 4, 6, 8]  # Axolotl evaluates before the first step too
    assert state["global_step"] == 8
