"""A mistake's message stands below what accelerate's launcher prints, where that can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapt_axolotl.integration.last_message import arguments_of_accelerate, repeat_below

# Stands for `accelerate launch`: runs a child, then prints a traceback and ends with its code.
LAUNCHER = """
import subprocess, sys, time
code = subprocess.run([sys.executable, sys.argv[-1]]).returncode
time.sleep(0.5)
print("the launcher's traceback", file=sys.stderr)
sys.exit(code)
"""
TRAINING = """
import os, sys
os.environ["ACCELERATE_DYNAMO_BACKEND"] = "NO"
from adapt_axolotl.integration.mistakes import show_mistakes_alone
from adapt_axolotl.budget.amount import TokenBudget
show_mistakes_alone()
TokenBudget.parse("0%")
"""


def launched(folder: Path, name: str, *options: str) -> list[str]:
    """Lines of stderr where a launcher of that name runs a training that ends with a mistake."""
    launcher, training = folder / name, folder / "training.py"
    launcher.write_text(LAUNCHER)
    training.write_text(TRAINING)
    call = [sys.executable, str(launcher), "launch", *options, str(training)]
    environment = {k: v for k, v in os.environ.items() if k != "TORCHELASTIC_ERROR_FILE"}
    done = subprocess.run(call, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 1
    return [line[:40] for line in done.stderr.splitlines() if line]


SAYS = "adapt-axolotl: '0%' buys no training ste"
WHOSE = "If a traceback follows, it is accelerate"
TRACEBACK = "the launcher's traceback"


def test_below_accelerates_traceback_the_message_comes_again(tmp_path: Path) -> None:
    assert launched(tmp_path, "accelerate") == [SAYS, TRACEBACK, SAYS]


def test_a_launcher_that_is_quiet_needs_no_second_message(tmp_path: Path) -> None:
    assert launched(tmp_path, "accelerate", "--quiet") == [SAYS, TRACEBACK]


def test_of_another_parent_it_says_whose_traceback_may_follow(tmp_path: Path) -> None:
    assert launched(tmp_path, "wrapper") == [SAYS, WHOSE, TRACEBACK]


def test_where_processes_cannot_be_waited_for_nothing_is_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not repeat_below(1, "ends with its container")
    monkeypatch.delattr(os, "pidfd_open")
    assert not repeat_below(os.getppid(), "an old Python or another system")


def test_a_process_that_has_ended_is_no_launcher() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert arguments_of_accelerate(process.pid) is None
