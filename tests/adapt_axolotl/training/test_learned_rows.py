"""Through `axolotl train`: rows with wrong answers are found, drawn seldom and written out, killed
or not, on one process or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from adapt_axolotl.commands.cli import app
from adapt_axolotl.records.row_scores import read_row_scores
from tests.support.launch import ledger, recipe, train, train_until

pytestmark = pytest.mark.slow

WRONG = "QWXZJ"


@pytest.fixture(scope="module")
def spoiled(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """120 training rows of two tasks; every tenth answer of `constant` is a wrong one."""
    folder = tmp_path_factory.mktemp("spoiled")
    files = {}
    for task in ("constant", "yes_no"):
        lines = (tiny / "data" / task / "train.jsonl").read_text().splitlines()[:120]
        rows = [json.loads(line) for line in lines]
        if task == "constant":
            for row in rows[::10]:
                row["messages"][-1]["content"] = WRONG
        files[task] = folder / f"{task}.jsonl"
        files[task].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


def config(tiny: Path, spoiled: dict[str, Path], folder: Path, **changes: Any) -> dict[str, Any]:
    """Eight passes over both tasks."""
    made = recipe(
        tiny,
        folder,
        adapt={"token_budget": "800%", "mixture": "proportional", "rows": "learned"},
        **changes,
    )
    for key in ("datasets", "test_datasets"):
        made[key] = [entry for entry in made[key] if entry["task"] in spoiled]
    for entry in made["datasets"]:
        entry["path"] = str(spoiled[entry["task"]])
    return made


@pytest.fixture(scope="module")
def run(
    tiny: Path, spoiled: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """(output directory, output) of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("rows") / "run"
    output = train(config(tiny, spoiled, folder, micro_batch_size=4), folder)
    return folder, output


def test_wrong_answers_are_written_out_and_the_budget_is_spent(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, output = run
    assert "`adapt-axolotl rows" in output
    accounts = ledger(folder)
    assert accounts["budget"] - 50 < accounts["used"] <= accounts["budget"]
    file = tmp_path / "rows.jsonl"
    result = CliRunner().invoke(app, ["rows", str(folder), "-o", str(file)])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    doubtful = [line for line in lines if line["kind"] == "doubtful"]
    found = [line for line in doubtful if WRONG in line["answer"].replace(" ", "")]
    assert len(found) >= 10  # of 12
    assert all(line["task"] == "constant" and WRONG not in line["text"][:4] for line in found)
    assert all("greet" in line["text"] for line in found)
    learned = [line for line in lines if line["kind"] == "learned"]
    assert not any(WRONG in line["answer"] for line in learned)
    assert len(learned) == len(doubtful)
    assert doubtful == sorted(doubtful, key=lambda line: (line["part"], -line["score"]))
    assert "constant: " in result.stderr


def test_rows_of_other_data_are_not_written_out(
    run: tuple[Path, str], spoiled: dict[str, Path]
) -> None:
    folder, _ = run
    before = spoiled["yes_no"].read_text()
    spoiled["yes_no"].write_text(before.replace("yes", "not", 1))
    try:
        result = CliRunner().invoke(app, ["rows", str(folder)])
    finally:
        spoiled["yes_no"].write_text(before)
    assert isinstance(result.exception, ValueError)
    assert "is not what the run trained on" in str(result.exception)


def test_two_processes_choose_the_rows_that_one_does(
    run: tuple[Path, str], tiny: Path, spoiled: dict[str, Path], tmp_path: Path
) -> None:
    train(
        config(tiny, spoiled, tmp_path, micro_batch_size=4, gradient_accumulation_steps=1),
        tmp_path,
        processes=2,
    )
    one, two = read_row_scores(run[0]), read_row_scores(tmp_path)
    assert (
        ledger(tmp_path)["tasks"]["constant"]["examples"]
        == (ledger(run[0])["tasks"]["constant"]["examples"])
    )
    # Stored scores are multiples of 1/1000.
    assert two.score == pytest.approx(one.score, abs=5e-3, nan_ok=True)
    assert np.isfinite(one.score).mean() > 0.9


def test_a_killed_run_chooses_the_rows_of_one_that_was_not(
    run: tuple[Path, str], tiny: Path, spoiled: dict[str, Path], tmp_path: Path
) -> None:
    resumable = config(
        tiny,
        spoiled,
        tmp_path,
        micro_batch_size=4,
        save_strategy="steps",
        save_steps=7,
        auto_resume_from_checkpoints=True,
    )
    assert train_until(resumable, tmp_path, lambda line: "checkpoint-70" in line)
    train(resumable, tmp_path)
    whole, killed = read_row_scores(run[0]), read_row_scores(tmp_path)
    assert (killed.part == whole.part).all()
    assert np.array_equal(killed.score, whole.score, equal_nan=True)
    assert ledger(tmp_path)["tasks"] == ledger(run[0])["tasks"]
