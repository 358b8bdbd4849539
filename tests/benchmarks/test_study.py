"""The study end to end: two arms, one seed, a budget of a few steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from study_pretrained import pretrained
from study_readme import MARKS

from adapt_common.run_records import read_ledger
from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare

ARMS = ("uniform", "proportional")
ROWS = {"train": 100, "validation": 20, "test": 15}  # of each task


def ran(script: str, *arguments: object, repository: Path) -> str:
    """Run one of the study's scripts on this checkout; returns what it said."""
    place = repository / "benchmarks" / f"{script}.py"
    done = subprocess.run(
        [sys.executable, str(place), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def few_rows(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's tasks, cut to a few rows each."""
    folder = tmp_path_factory.mktemp("study_rows")
    for task in sorted(place for place in (test_data / "study").iterdir() if place.is_dir()):
        (folder / task.name).mkdir()
        for split, count in ROWS.items():
            lines = (task / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
            text = "".join(f"{line}\n" for line in lines)
            (folder / task.name / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_two_arms_from_the_driver_to_the_page(
    few_rows: Path, tmp_path: Path, repository: Path
) -> None:
    runs, tables, docs = tmp_path / "runs", tmp_path / "tables", tmp_path / "docs"
    command = (few_rows, "--out", runs, "--only", "uniform,learned", "--regimes", "natural")
    command = (*command, "--seeds", "1", "--budgets", "5%", "--workers", "1")
    told = ran("run_study", *command, repository=repository)
    assert "[2/2]" in told
    assert "2 cells, 0 to do" in ran("run_study", *command, repository=repository)
    places = [
        runs / "natural" / "5%" / arm / "rate_0.003" / "seed_1" for arm in ("uniform", "learned")
    ]

    # adapt-eval reads these runs as its own: a benchmark a task, an item a test row.
    for suite in ("study_exact_match", "study_loss"):
        found = compare(read_arms([f"{place.parts[-3]}={place}" for place in places], suite))
        assert len(found.benchmarks) == 20
        assert found.suite.n == 20 * ROWS["test"]
        assert found.suite.run == "learned"

    ran("collect_study", runs, "--to", tables, repository=repository)
    lines = pyarrow.parquet.read_table(tables / "study.parquet").to_pylist()
    assert len(lines) == 40
    ledgers = [json.loads((place / "adapt" / "ledger.json").read_text()) for place in places]
    assert {line["run_tokens"] for line in lines} == {ledger["used"] for ledger in ledgers}
    for line in lines:
        assert 5 < len(line["curve_losses"]) == len(line["curve_tokens"]) <= 10
        assert 0 < line["loss"] < 12

    readme = tmp_path / "README.md"
    readme.write_text(f"{MARKS[0]}\n{MARKS[1]}\n", encoding="utf-8")
    arguments = ("--tables", tables, "--docs", docs, "--readme", readme)
    ran("study_page", *arguments, repository=repository)
    page = (docs / "study.md").read_text(encoding="utf-8")
    assert "One seed tells of these models and not of methods." in page
    for figure in ("arms_5", "curves_5", "mixtures_5", "regret", "repeats"):
        assert f"study/{figure}.svg" in page
        assert (docs / "study" / f"{figure}.svg").exists()
    ran("study_page", "--check", *arguments, repository=repository)


@pytest.mark.slow
def test_methods_of_others_are_built_as_recipes_build_them(
    few_rows: Path, tmp_path: Path, repository: Path
) -> None:
    command = (few_rows, "--out", tmp_path / "runs", "--only", "odm,doge", "--regimes", "natural")
    told = ran("run_study", *command, "--seeds", "1", "--budgets", "2%", repository=repository)
    assert "[2/2]" in told


@pytest.mark.slow
def test_a_model_is_trained_on_text_and_then_by_both_arms(
    few_rows: Path, tmp_path: Path, repository: Path
) -> None:
    # The driver's folder of rows is DIR/study.
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "study").symlink_to(few_rows)
    text = tmp_path / "text.jsonl"
    rows = (few_rows / "sql_advising" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    contents = [" ".join(one["content"] for one in json.loads(row)["messages"]) for row in rows]
    text.write_text("".join(f"{json.dumps({'text': one})}\n" for one in contents))
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    command = (tmp_path / "data" / "study", "--text", text, "--out", runs, "--size", "tiny")
    command = (*command, "--pretrain-steps", 2, "--arms", ",".join(ARMS), "--seeds", "1")
    told = ran("pretrained_study", *command, "--budget", "4%", repository=repository)
    assert told.count("exact match") == 2
    told = ran("pretrained_study", *command, "--budget", "4%", repository=repository)
    assert "axolotl train" not in told  # nothing is done twice
    with pytest.raises(AssertionError, match="holds runs of another model"):
        ran("pretrained_study", *command, "--pretrain-steps", 3, repository=repository)

    tables = runs / "tables"
    lines = pyarrow.parquet.read_table(tables / "study.parquet").to_pylist()
    assert len(lines) == 40
    # Both began with the model that was trained on text, and ended with another one each.
    folders = [runs / "natural" / "4%" / arm / "rate_0.0005" / "seed_1" for arm in ARMS]
    first = [
        [task["first_validation_loss"] for task in read_ledger(run)["tasks"].values()]
        for run in folders
    ]
    assert first[0] == first[1]
    assert lines[0]["loss"] != lines[20]["loss"]
    said = pretrained(tables)
    assert "4%, seeds 1, learning rate 0.0005" in said
    assert "| proportional |" in said
    assert "No such runs are here yet" in pretrained(docs)
