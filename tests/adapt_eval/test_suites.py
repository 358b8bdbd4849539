"""Suites are listed as they are, and mistakes in one's own are named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapt_eval.suite import load_suite


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).with_name("adapt-eval"))
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)


def test_ood11_is_eleven_benchmarks_of_four_families() -> None:
    suite = load_suite("ood11")
    assert len(suite.benchmarks) == 11
    families = {benchmark.family for benchmark in suite.benchmarks}
    assert families == {
        "reasoning",
        "reading comprehension",
        "code generation",
        "instruction following",
    }


def test_the_command_lists_them_as_table_and_json() -> None:
    assert "ood11" in run("suites").stdout
    listed = json.loads(run("suites", "ood11", "--json").stdout)
    assert [one["task"] for one in listed["benchmarks"]][:2] == ["arc_challenge", "hellaswag"]
    assert "winogrande" in run("suites", "ood11").stdout


def test_an_unknown_suite_is_one_message_and_exit_code_2() -> None:
    done = run("suites", "nope")
    assert done.returncode == 2
    assert done.stderr.startswith("adapt-eval: no suite 'nope'; shipped are ood11")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x", "needs a list under benchmarks"),
        ("benchmarks: [{task: a, famly: b}]", r"unknown keys \['famly'\]"),
        (
            "benchmarks: [{task: a, family: b, metric: m, shots: 0, items: 1, chance: 25}]",
            "chance is a score from 0 to 1",
        ),
    ],
)
def test_mistakes_in_ones_own_suite_are_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_suite(str(file))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from adapt_eval.cli import app; "
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'adapt_axolotl') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
