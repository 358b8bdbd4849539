"""Suites are listed as they are, and mistakes in one's own are named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapt_eval.suite import load_suite
from tests.adapt_eval.conftest import Command

FAMILIES = {
    "reasoning",
    "reading comprehension",
    "code generation",
    "instruction following",
}
ENTRY = "{task: a, family: b, metric: 'm,none', shots: 0, items: 1, chance: 0}"


def test_ood11_is_eleven_benchmarks_of_four_families_and_tiny_has_them_too() -> None:
    assert len(load_suite("ood11").benchmarks) == 11
    for name in ("ood11", "tiny"):
        assert {benchmark.family for benchmark in load_suite(name).benchmarks} == FAMILIES


def test_the_command_lists_them_as_table_and_json(command: Command) -> None:
    assert command("suites").stdout.split() == ["ood11", "tiny"]
    listed = json.loads(command("suites", "ood11", "--json").stdout)
    assert [one["task"] for one in listed["benchmarks"]][:2] == ["arc_challenge", "hellaswag"]
    table = command("suites", "ood11").stdout
    assert "winogrande" in table
    assert "our choice of eleven" in table


def test_an_unknown_suite_is_one_message_and_exit_code_2(command: Command) -> None:
    done = command("suites", "nope")
    assert done.returncode == 2
    assert done.stderr.startswith("adapt-eval: no suite 'nope'; shipped are ood11")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x", "needs a list under benchmarks"),
        ("benchmarks: [7]", "each benchmark is a mapping"),
        ("benchmarks: [{task: a, famly: b}]", r"unknown keys \['famly'\]"),
        (f"benchmarks: [{ENTRY.replace('chance: 0', 'chance: 25')}]", "chance is a score from 0"),
        (f"benchmarks: [{ENTRY.replace('m,none', 'm')}]", "metric is lm-eval's key"),
        (f"benchmarks: [{ENTRY.replace('shots: 0', 'shots: few')}]", "shots is a whole number"),
        (f"benchmarks: [{ENTRY}, {ENTRY}]", "listed twice: a"),
        ("benchmarks: [", "not YAML"),
    ],
)
def test_mistakes_in_ones_own_suite_are_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_suite(str(file))


def test_a_suite_can_be_narrowed_but_not_to_nothing_or_to_what_it_has_not() -> None:
    suite = load_suite("ood11")
    assert [one.task for one in suite.select(["gsm8k", "bbh"], ["bbh"]).benchmarks] == ["gsm8k"]
    with pytest.raises(ValueError, match="no benchmark mmlu"):
        suite.select(["mmlu"])
    with pytest.raises(ValueError, match="no benchmark is left"):
        suite.select(["bbh"], ["bbh"])


@pytest.mark.parametrize("name", ["run", "compare", "report", "suites", "overlap", "fetch"])
def test_every_help_ends_with_examples_one_a_line(name: str, command: Command) -> None:
    done = command(name, "--help")
    assert done.returncode == 0
    assert f"\n  Examples:\n    adapt-eval {name}" in done.stdout
    examples = done.stdout.split("Examples:\n")[1].splitlines()
    assert all(line.startswith("    adapt-eval ") for line in examples)
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("run", "RUN Directory of a model, of a PEFT adapter or of a training run, or a name"),
        ("compare", "NAME=RUN, or NAME=RUN,RUN for several seeds"),
        ("report", "NAME=RUN, or NAME=RUN,RUN for several seeds"),
        ("overlap", "RUN A directory that `adapt-eval run` has measured"),
        ("suites", "[NAME] A suite's name, or a YAML file"),
        ("fetch", "DIRECTORY The mirror to fill, for `adapt-eval run --data-root`"),
    ],
)
def test_help_tells_what_the_arguments_are(name: str, says: str, command: Command) -> None:
    assert says in " ".join(command(name, "--help").stdout.split())


def test_help_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "lm_eval", "numpy", "scipy", "datasets", "adapt_axolotl")
    code = (
        "import sys; from adapt_eval.cli import main; sys.argv = ['adapt-eval', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Examples:\n    adapt-eval run" in done.stdout
