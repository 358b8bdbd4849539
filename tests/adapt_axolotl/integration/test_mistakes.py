"""A user's mistake is told without a traceback, a bug with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapt_axolotl.budget.amount import TokenBudget
from adapt_axolotl.integration.mistakes import is_mistake
from adapt_axolotl.recipe.read import read_recipe


def run(
    tmp_path: Path, statement: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A process that ends with what a statement raises."""
    script = tmp_path / "script.py"
    script.write_text(
        "from axolotl.logging_config import configure_logging\n"
        "from adapt_axolotl.integration.mistakes import show_mistakes_alone\n"
        "from adapt_axolotl.budget.amount import TokenBudget\n"
        "configure_logging()\nshow_mistakes_alone()\nshow_mistakes_alone()\n"
        f"print('training')\n{statement}\n"
    )
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )


MISTAKE = "TokenBudget.parse('0%')"
SAYS = "'0%' buys"


def test_a_mistake_ends_the_process_with_its_message_alone(tmp_path: Path) -> None:
    done = run(tmp_path, MISTAKE)
    assert done.returncode == 1
    assert done.stderr.startswith(f"adapt-axolotl: {SAYS}")
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "TokenBudget.resolve(TokenBudget(), 5)")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "AssertionError" in done.stderr


def test_axolotls_log_level_shows_where_a_mistake_was_found(tmp_path: Path) -> None:
    done = run(tmp_path, MISTAKE, {"AXOLOTL_LOG_LEVEL": "DEBUG"})
    assert "Traceback" in done.stdout
    assert done.stderr.startswith(f"adapt-axolotl: {SAYS}")


def test_under_torchrun_the_message_is_in_what_it_reports(tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    done = run(tmp_path, MISTAKE, {"TORCHELASTIC_ERROR_FILE": str(file)})
    assert done.returncode == 1
    assert done.stderr == ""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(file))
    told = str(ChildFailedError("train", {0: failure}))
    assert told.rstrip().splitlines()[-2].startswith(f"  traceback : {SAYS}")
    assert json.loads(file.read_text())["message"]["message"].startswith(SAYS)


def test_under_accelerate_it_says_whose_traceback_follows(tmp_path: Path) -> None:
    done = run(tmp_path, MISTAKE, {"ACCELERATE_DYNAMO_BACKEND": "NO"})
    assert "If a traceback follows, it is accelerate's" in done.stderr.splitlines()[-1]


def test_only_a_valueerror_that_this_package_raises_is_a_mistake() -> None:
    def raised(call: object, *arguments: object) -> BaseException:
        with pytest.raises(Exception) as error:  # noqa: PT011
            call(*arguments)  # type: ignore[operator]
        return error.value

    assert is_mistake(raised(TokenBudget.parse, "0%"))
    assert is_mistake(raised(read_recipe, {}))
    assert not is_mistake(raised(int, "x"))
    assert not is_mistake(raised(json.loads, "{"))
    # Out of this package, but of an operation there and not of a `raise`.
    assert not is_mistake(raised(TokenBudget(share=0.5).resolve, "x"))
    assert not is_mistake(ValueError("never raised"))
