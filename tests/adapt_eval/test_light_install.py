"""Stored results and logs are compared without Axolotl, torch and lm-eval, and quickly."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.eval_runs import made_run
from tests.support.log_files import made_lighteval_details, made_lm_eval_output

# What adapt-axolotl brings and the light install does not; and what is only slow to import.
ABSENT = """accelerate axolotl datasets evaluate httpx huggingface_hub langdetect lm_eval nltk peft
safetensors tokenizers torch transformers trl vllm"""
SLOW = "pandas scipy.stats scipy.optimize"
_CALL = """
import sys

absent = sys.argv.pop(1).split()

class Absent:
    def find_spec(self, name, path=None, target=None):
        parts = name.split(".")
        if any(".".join(parts[:n]) in absent for n in range(1, len(parts) + 1)):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Absent())
from adapt_eval.cli import main
main()
"""
SCORES = {"sums": [1.0, 0.0] * 20, "logic": [1.0, 0.5] * 20}


def light(absent: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command where some modules cannot be imported."""
    call = [sys.executable, "-c", _CALL, absent, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ADAPT_EVAL_")}
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    other = {"sums": [1.0] * 25 + [0.0] * 15, "logic": [0.5] * 40}
    return [made_run(tmp_path / "first", SCORES), made_run(tmp_path / "second", other)]


@pytest.mark.parametrize("command", ["compare", "report"])
def test_our_own_results(command: str, runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    more = ["--output", page] if command == "report" else []
    done = light(ABSENT, command, *runs, *more)
    assert done.returncode == 0, done.stderr
    assert done.stdout == light("", command, *runs, *more).stdout
    assert command == "compare" or "second less first" in page.read_text()


def test_logs(tmp_path: Path) -> None:
    for make in (made_lm_eval_output, made_lighteval_details):
        pair = [
            make(tmp_path / make.__name__ / name, {"sums|0": scores})
            for name, scores in (("a", SCORES["sums"]), ("b", SCORES["logic"]))
        ]
        done = light(ABSENT, "compare", *pair, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["benchmarks"][0]["n"] == 40


def test_help_version_and_suites() -> None:
    for call in (["--help"], ["run", "--help"], ["--version"], ["suites", "ood11"]):
        done = light(ABSENT, *call)
        assert done.returncode == 0, done.stderr
        assert "adapt-eval" in done.stdout or "humaneval" in done.stdout


@pytest.mark.parametrize("command", ["run", "fetch", "overlap"])
def test_what_measures_says_what_to_install(command: str, tmp_path: Path) -> None:
    done = light(ABSENT, command, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"adapt-eval: {command}: needs ")
    assert "pip install adapt-axolotl" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_comparison_takes_under_two_seconds_of_processor_time(runs: list[Path]) -> None:
    # Also without what these would take: pandas and scipy.stats are half a second each.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = light(f"{ABSENT} {SLOW}", "compare", *runs)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_the_light_distribution_is_a_part_of_the_whole_one(repository: Path) -> None:
    whole = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    file = repository / "packaging" / "adapt-eval" / "pyproject.toml"
    part = tomllib.loads(file.read_text())["project"]
    assert set(part["dependencies"]) < set(whole["dependencies"])
    assert part["requires-python"] == whole["requires-python"]
    for name, place in part["scripts"].items():
        assert whole["scripts"][name] == place
