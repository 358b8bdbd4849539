"""A metric that is continuous in the log-probabilities equals lm-eval's own, too.

A model's log-probabilities depend in their last digits on what else is in a batch. Asked alone, as
`adapt-eval run` asks each benchmark, they are equal to the last digit; where one call of lm-eval's
command asks several tasks, it batches them together, and they are equal to about seven digits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.fetch import save
from adapt_eval.results import read_result
from tests.adapt_eval.conftest import Command
from tests.support.lm_eval_command import lm_eval_command

TASK = "truthfulqa_mc2"  # the probability of the right answers
SUITE = f"""
benchmarks:
  - {{task: {TASK}, family: truth, metric: 'acc,none', shots: 0, items: 12, chance: 0.4,
     folder: truthfulqa}}
"""

pytestmark = pytest.mark.slow


def question(number: int) -> dict[str, Any]:
    """With answers of many lengths, so that a batch has much to pad."""
    choices = [f"It is {'very ' * ((number * step) % 7)}{step}." for step in range(1, 6)]
    labels = [1, 1, 0, 0, 0]
    return {
        "question": f"What is {'the number ' * (number % 4)}{number}?",
        "mc1_targets": {"choices": choices, "labels": [1, 0, 0, 0, 0]},
        "mc2_targets": {"choices": choices, "labels": labels},
    }


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data under its name on the Hub: a mirror, and where lm-eval's command finds
    it as its working directory."""
    folder = tmp_path_factory.mktemp("room")
    rows = datasets.Dataset.from_list([question(number) for number in range(12)])
    save(
        folder / "truthfulqa" / "truthful_qa",
        "truthful_qa",
        {"multiple_choice": {"validation": rows}},
    )
    return folder


@pytest.fixture(scope="module")
def ours(
    room: Path, model: Path, tmp_path_factory: pytest.TempPathFactory, command: Command
) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    suite = folder / "mine.yaml"
    suite.write_text(SUITE)
    call = ["run", model, "--suite", suite, "--data-root", room, "--output", folder / "results"]
    done = command(*call, "--batch-size", 8, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.fixture(scope="module")
def theirs(room: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """lm-eval's own output for the task alone and beside another."""
    folder = tmp_path_factory.mktemp("theirs")
    calls = []
    for name, tasks in (("alone", [TASK]), ("beside", ["truthfulqa_mc1", TASK])):
        call = ["run", "--model", "hf", "--device", "cpu", "--batch_size", "8"]
        call += ["--model_args", f"pretrained={model}", "--num_fewshot", "0", "--log_samples"]
        calls.append([*call, "--tasks", *tasks, "--output_path", str(folder / name)])
    lm_eval_command(calls, room)
    return {name: folder / name for name in ("alone", "beside")}


def score(output: Path) -> float:
    (file,) = output.rglob("results_*.json")
    return float(json.loads(file.read_text())["results"][TASK]["acc,none"])


def test_alone_it_is_equal_to_the_last_digit(ours: Path, theirs: dict[str, Path]) -> None:
    found = read_result(ours / f"{TASK}.json").content.score
    assert 0.01 < found < 0.99
    assert found == score(theirs["alone"])


def test_beside_another_task_it_is_equal_to_about_seven_digits(
    ours: Path, theirs: dict[str, Path]
) -> None:
    found = read_result(ours / f"{TASK}.json").content.score
    assert found == pytest.approx(score(theirs["beside"]), rel=1e-5)


def test_item_by_item_too(ours: Path, theirs: dict[str, Path]) -> None:
    arms = read_arms([f"ours={ours}", f"theirs={theirs['alone']}"], None)
    (one,) = compare(arms).benchmarks
    assert (one.n, one.wins, one.losses, one.unmatched) == (12, 0, 0, (0, 0))
