"""A user's mistake is told without a traceback, a bug with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from adapt_axolotl.budget.amount import TokenBudget
from adapt_axolotl.integration.mistakes import is_mistake
from adapt_axolotl.recipe.read import read_recipe

MISTAKE = "TokenBudget.parse('0%')"
BUG = "TokenBudget.resolve(TokenBudget(), 5)"
SAYS = "'0%' buys"

# A process for each case, forked after the imports, which take longer than all that follows.
SCRIPT = """
import json, os, sys
from pathlib import Path
from typing import NamedTuple
from axolotl.logging_config import configure_logging
from adapt_axolotl.integration.mistakes import show_mistakes_alone
from adapt_axolotl.budget.amount import TokenBudget

for name, (statement, environment) in json.loads(sys.argv[1]).items():
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        Path(name, "code").write_text(str(code))
        continue
    for stream, file in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(name, file), os.O_CREAT | os.O_WRONLY), stream)
    os.environ.update(environment)
    configure_logging()
    show_mistakes_alone()
    show_mistakes_alone()
    print("training")
    exec(statement)
    break
"""


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file into which a process under torchrun says what was wrong."""
    return tmp_path_factory.mktemp("torchrun") / "error.json"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, reported: Path) -> dict[str, Ended]:
    """Processes that ended with what a statement raised."""
    cases: dict[str, tuple[str, dict[str, str]]] = {
        "mistake": (MISTAKE, {}),
        "bug": (BUG, {}),
        "torchrun": (MISTAKE, {"TORCHELASTIC_ERROR_FILE": str(reported)}),
        "accelerate": (MISTAKE, {"ACCELERATE_DYNAMO_BACKEND": "NO"}),
    }
    return run(tmp_path_factory.mktemp("ended"), cases)


def run(
    folder: Path, cases: dict[str, tuple[str, dict[str, str]]], **environment: str
) -> dict[str, Ended]:
    """A process for each case: a statement, and variables beside those that imports may read."""
    for name in cases:
        (folder / name).mkdir()
    call = [sys.executable, "-c", SCRIPT, json.dumps(cases)]
    subprocess.run(call, cwd=folder, env={**os.environ, **environment}, check=True)
    return {
        name: Ended(
            int((folder / name / "code").read_text()),
            (folder / name / "stdout").read_text(),
            (folder / name / "stderr").read_text(),
        )
        for name in cases
    }


def test_a_mistake_ends_the_process_with_its_message_alone(ended: dict[str, Ended]) -> None:
    done = ended["mistake"]
    assert done.returncode == 1
    assert done.stderr.startswith(f"adapt-axolotl: {SAYS}")
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback(ended: dict[str, Ended]) -> None:
    done = ended["bug"]
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "AssertionError" in done.stderr


def test_axolotls_log_level_shows_where_a_mistake_was_found(tmp_path: Path) -> None:
    done = run(tmp_path, {"debug": (MISTAKE, {})}, AXOLOTL_LOG_LEVEL="DEBUG")["debug"]
    assert "Traceback" in done.stdout
    assert done.stderr.startswith(f"adapt-axolotl: {SAYS}")


def test_under_torchrun_the_message_is_in_what_it_reports(
    ended: dict[str, Ended], reported: Path
) -> None:
    done = ended["torchrun"]
    assert done.returncode == 1
    assert done.stderr == ""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(reported))
    told = str(ChildFailedError("train", {0: failure}))
    assert told.rstrip().splitlines()[-2].startswith(f"  traceback : {SAYS}")
    assert json.loads(reported.read_text())["message"]["message"].startswith(SAYS)


def test_under_accelerate_it_says_whose_traceback_follows(ended: dict[str, Ended]) -> None:
    done = ended["accelerate"]
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
