"""What `adapt-axolotl --help` and the help of its commands say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

COMMANDS = ["tiny", "show", "freeze", "rows", "effects", "twin", "init", "plan", "card"]
COMMANDS += ["validate", "prepare"]


def said(*arguments: str) -> str:
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


def test_all_commands_are_listed() -> None:
    listed = said("--help").split("Commands:")[1]
    assert re.findall(r"^  ([a-z]+)", listed, re.MULTILINE) == COMMANDS


def test_h_is_help_too() -> None:
    assert said("-h") == said("--help")
    assert said("plan", "-h") == said("plan", "--help")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny", "DIRECTORY Where to write the model and the data. [required]"),
        ("show", "RUNS... Output directories of finished runs. [required]"),
        ("freeze", "RUN Output directory of a finished learned run. [required]"),
        ("rows", "RUN Output directory of a finished run with rows: learned. [required]"),
        ("effects", "RUN Output directory of a finished run. [required]"),
        ("twin", "RECIPE An ADAPT recipe, or the output directory of a run. [required]"),
        ("init", "RECIPE An Axolotl YAML that trains on several datasets. [required]"),
        ("plan", "RECIPE An ADAPT recipe. [required]"),
        ("card", "RUN Output directory of a finished run. [required]"),
        ("validate", "RECIPES... ADAPT recipes. [required]"),
    ],
)
def test_help_tells_what_the_arguments_are_and_ends_with_an_example(name: str, says: str) -> None:
    text = said(name, "--help")
    assert " ".join(text.split()).count(says) == 1
    assert f"\n  Example: adapt-axolotl {name} " in text


def test_a_mistake_shows_its_traceback_under_axolotls_debug_switch_only() -> None:
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", "show", "no_such_run"]
    for level, shown in (("INFO", False), ("DEBUG", True)):
        environment = {**os.environ, "AXOLOTL_LOG_LEVEL": level}
        done = subprocess.run(call, capture_output=True, text=True, env=environment)
        assert done.returncode == 2
        assert ("Traceback" in done.stderr) == shown
        assert done.stderr.rstrip().splitlines()[-1].startswith("adapt-axolotl: no_such_run")
