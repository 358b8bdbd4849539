"""A forked run ends as a process of its own would, and never outlives the tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.fork_server import Server
from tests.support.launch import recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    one = Server(os.environ)
    yield one
    one.close()


def long_run(tiny: Path, folder: Path) -> list[str]:
    """Arguments of a run that takes far longer than its test."""
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(recipe(tiny, folder, adapt={"token_budget": 10**6})))
    return ["train", str(file), "--launcher", "python"]


def test_a_run_has_the_folder_output_and_exit_code_it_would_have(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.yml").write_text("plugins: [missing.Plugin]\n")
    mistake = server.run(["train", "not_here.yml"], os.environ)
    bug = server.run(["train", "here.yml", "--launcher", "python"], os.environ)
    # Read in the other order: each has its own output and its own code.
    assert "Traceback" in bug.stdout.read()
    assert bug.wait() == 1
    said = mistake.stdout.read().rstrip().splitlines()[-1]
    assert said == "Error: Invalid value for 'CONFIG': Path 'not_here.yml' does not exist."
    assert mistake.wait() == 2


def test_a_killed_run_ends_with_its_signal(server: Server, tiny: Path, tmp_path: Path) -> None:
    run = server.run(long_run(tiny, tmp_path), os.environ)
    run.stdout.readline()
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def test_runs_end_with_their_server(server: Server, tiny: Path, tmp_path: Path) -> None:
    run = server.run(long_run(tiny, tmp_path), os.environ)
    run.stdout.readline()
    server.close()
    run.stdout.read()  # to its end: nobody writes any more
    begun = time.monotonic()
    while Path(f"/proc/{run.pid}").exists():
        assert time.monotonic() - begun < 10
        time.sleep(0.01)
