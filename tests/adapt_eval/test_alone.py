"""Two runs into one folder do not mix; a full disk loses nothing."""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from adapt_eval import results
from adapt_eval.alone import alone
from adapt_eval.results import read_result
from adapt_eval.run import run_suite
from tests.support.tiny_suite import Quiet, options


def hold(folder: Path, held: Any) -> None:
    with alone(folder):
        held.set()
        time.sleep(60)  # until it is killed


def test_a_second_run_into_a_folder_is_refused_and_a_killed_one_leaves_it_free(
    tiny_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "own", ignore=shutil.ignore_patterns("eval"))
    folder = run / "eval" / "tiny"
    held = multiprocessing.get_context("spawn").Event()
    other = multiprocessing.get_context("spawn").Process(target=hold, args=(folder, held))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(ValueError, match=r"eval/tiny: another adapt-eval run is writing there"):
            run_suite(options(run, only=["tiny_passages"]), Quiet())  # type: ignore[arg-type]
        assert not list(folder.iterdir())
    finally:
        other.kill()
        other.join()
    with alone(folder):
        pass


def test_a_full_disk_keeps_what_is_done_and_the_same_command_goes_on(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "own", ignore=shutil.ignore_patterns("eval"))
    folder = run / "eval" / "tiny"
    write = results.write_atomically
    asks = options(run, only=["tiny_sums", "tiny_instructions"])

    def full(path: Path, content: str | bytes) -> None:
        if "tiny_instructions" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(results, "write_atomically", full)
    with pytest.raises(OSError, match="No space left on device"):
        run_suite(asks, Quiet())  # type: ignore[arg-type]
    done = (folder / "tiny_sums.json").read_bytes()
    (answers,) = folder.glob("tiny_instructions.answers-*.jsonl")
    assert all(json.loads(line) for line in answers.read_text().splitlines())
    monkeypatch.setattr(results, "write_atomically", write)
    again = Quiet()
    run_suite(asks, again)  # type: ignore[arg-type]
    assert not again.requests  # every answer was kept
    assert (folder / "tiny_sums.json").read_bytes() == done
    whole = read_result(tiny_run / "eval" / "tiny" / "tiny_instructions.json").content
    assert read_result(folder / "tiny_instructions.json").content.score == whole.score
