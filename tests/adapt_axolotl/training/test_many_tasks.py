"""A learned mixture over 200 tasks, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.launch import PRODUCTS, TASKS, history, ledger, recipe, train

pytestmark = pytest.mark.slow


def test_a_run_with_200_tasks_keeps_its_budget_and_its_cost(tiny: Path, tmp_path: Path) -> None:
    names = [f"{kind}_{number}" for number in range(40) for kind in TASKS]
    config = recipe(
        tiny,
        tmp_path / "run",
        adapt={
            "token_budget": "100%",
            "learned": {**PRODUCTS, "update_every": 10},
            "val_examples": 2,
        },
        micro_batch_size=32,
        gradient_accumulation_steps=1,
    )
    entry = config["datasets"][0]
    config["datasets"] = []
    for kind in TASKS:
        lines = (tiny / "data" / kind / "train.jsonl").read_text().splitlines()
        for number in range(40):
            file = tmp_path / f"{kind}_{number}.jsonl"
            file.write_text("\n".join(lines[10 * number : 10 * number + 10]) + "\n")
            config["datasets"].append({**entry, "path": str(file), "task": f"{kind}_{number}"})
    del config["test_datasets"]
    config["dataset_prepared_path"] = str(tmp_path / "prepared")
    output = train(config, tmp_path / "run")

    report = ledger(tmp_path / "run")
    assert sorted(report["tasks"]) == sorted(names)
    assert report["used"] <= report["budget"]
    assert report["left"] < 32 * 11
    lines = history(tmp_path / "run")
    assert len(lines) >= 3
    # Tasks take turns: a meta step of 4 % of a run has no room for 400 rows.
    assert "validation rows of each of" in output
    assert report["meta_tokens"] < 0.05 * report["used"]
    assert min(lines[-1]["proportions"].values()) >= 0.1 / 200
    timing = json.loads((tmp_path / "run" / "adapt" / "timing.json").read_text())
    assert 0 < timing["meta_steps"] < timing["training"]
