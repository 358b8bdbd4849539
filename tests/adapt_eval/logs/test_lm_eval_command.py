"""What lm-eval's own command logs compares as our own runs of the same models do."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.suite import load_suite
from tests.adapt_eval.conftest import Command
from tests.support.lm_eval_command import lm_eval_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def logs(tiny_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The models of `tiny_runs`, measured by `lm_eval run --log_samples`: a call for each number of
    shots, all into one folder."""
    folder = tmp_path_factory.mktemp("logs")
    own = str(files("adapt_eval").joinpath("tasks"))
    shots: dict[int, list[str]] = {}
    for one in load_suite("tiny").benchmarks:
        shots.setdefault(one.shots, []).append(one.task)
    calls = []
    for run in tiny_runs:
        for number, tasks in shots.items():
            call = ["run", "--model", "hf", "--device", "cpu", "--batch_size", "16"]
            call += ["--model_args", f"pretrained={run}", "--tasks", *tasks, "--log_samples"]
            call += ["--num_fewshot", str(number), "--include_path", own]
            call += ["--confirm_run_unsafe_code", "--output_path", str(folder / run.name)]
            calls.append(call)
    lm_eval_command(calls, folder)
    return [folder / run.name for run in tiny_runs]


def compared(*runs: Path) -> Comparison:
    return compare(read_arms([f"{name}={run}" for name, run in zip("ab", runs, strict=True)], None))


def equal(one: Any, other: Any, where: str = "") -> None:
    """Numbers to 1e-12; all else exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            equal(a, b, f"{where}[{number}]")
    elif isinstance(one, float):
        same = (math.isnan(one) and math.isnan(other)) or math.isclose(
            one, other, rel_tol=1e-12, abs_tol=1e-12
        )
        assert same, (where, one, other)
    else:
        assert one == other, where


FIGURES = {"suite", "suites", "families", "benchmarks", "seed_scores"}


def test_two_logs_compare_as_our_own_two_runs_do(tiny_runs: list[Path], logs: list[Path]) -> None:
    ours = compared(*tiny_runs).model_dump(include=FIGURES)
    theirs = compared(*logs).model_dump(include=FIGURES)
    assert len(ours["benchmarks"]) == 4
    assert any(one["difference"] for one in ours["benchmarks"])
    equal(ours, theirs)


def test_a_log_and_a_run_of_our_own_compare_as_two_runs_do(
    tiny_runs: list[Path], logs: list[Path]
) -> None:
    ours = compared(*tiny_runs).model_dump(include=FIGURES)
    equal(ours, compared(tiny_runs[0], logs[1]).model_dump(include=FIGURES))
    mixed = compared(logs[0], tiny_runs[1])
    equal(ours, mixed.model_dump(include=FIGURES))
    assert mixed.measured_on.name == "tiny"
    assert not any("measured with another" in note for note in mixed.notes)
    (note,) = (one for one in mixed.notes if "logs tell less" in one)
    assert str(logs[0]) in note


def test_a_log_and_the_run_of_the_same_model_do_not_differ(
    tiny_run: Path, logs: list[Path]
) -> None:
    result = compared(tiny_run, logs[0])
    assert all(one.wins == one.losses == 0 for one in result.benchmarks)


def test_the_command_reads_the_folder_of_the_model_and_a_single_file(
    logs: list[Path], tmp_path: Path, command: Command
) -> None:
    inside = [next(log.iterdir()) for log in logs]
    done = command("compare", f"a={inside[0]}", f"b={inside[1]}", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["benchmarks"]) == 4
    page = tmp_path / "report.html"
    single = [sorted(one.glob("results_*.json"))[0] for one in inside]
    done = command("report", f"a={single[0]}", f"b={single[1]}", "--output", page)
    assert done.returncode == 0, done.stderr
    assert "the tasks of the logs" in page.read_text()
