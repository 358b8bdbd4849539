"""A run that dies within a benchmark asks only what it has no answer to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from adapt_eval.run import run_suite
from tests.support.tiny_suite import Quiet, options


class Dies(Quiet):
    """Interrupted after some answers."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def items(self, done: int, total: int) -> None:
        super().items(done, total)
        if done >= self.after:
            raise KeyboardInterrupt


def rows(folder: Path, task: str) -> list[dict[str, Any]]:
    table = pyarrow.parquet.read_table(folder / f"{task}.samples.parquet")
    found: list[dict[str, Any]] = table.to_pylist()
    return found


@pytest.mark.parametrize(
    ("task", "requests", "after"), [("tiny_sums", 240, 200), ("tiny_instructions", 32, 20)]
)
def test_a_benchmark_goes_on_where_it_was_interrupted(
    task: str, requests: int, after: int, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "own"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("eval"))
    again, dies = Quiet(), Dies(after)
    with pytest.raises(KeyboardInterrupt):
        run_suite(options(run, only=[task]), dies)  # type: ignore[arg-type]
    (file,) = (run / "eval" / "tiny").glob("*.answers-*.jsonl")
    with file.open("a") as stream:
        stream.write('{"request": "cut of')
    run_suite(options(run, only=[task]), again)  # type: ignore[arg-type]
    asked = again.requests[-1][1]
    assert asked <= requests - after
    assert not list((run / "eval" / "tiny").glob("*.answers-*"))  # the result is whole
    ours, whole = rows(run / "eval" / "tiny", task), rows(tiny_run / "eval" / "tiny", task)
    for key in ("doc_hash", "prompt_hash", "filtered", "score"):
        if task == "tiny_sums" and key == "filtered":
            continue  # log-probabilities of the last batches: other batches, other last digits
        assert [one[key] for one in ours] == [one[key] for one in whole]


def test_answers_of_another_model_are_never_taken(tiny_runs: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "own"
    shutil.copytree(tiny_runs[0], run, ignore=shutil.ignore_patterns("eval"))
    with pytest.raises(KeyboardInterrupt):
        run_suite(options(run, only=["tiny_sums"]), Dies(200))  # type: ignore[arg-type]
    for file in tiny_runs[1].glob("*.*"):
        shutil.copy(file, run)
    again = Quiet()
    run_suite(options(run, only=["tiny_sums"]), again)  # type: ignore[arg-type]
    assert again.requests[-1] == (240, 240)


def test_damage_within_the_file_is_one_message(tmp_path: Path) -> None:
    from adapt_eval.lm_harness.answers import _read

    file = tmp_path / "x.answers-0.jsonl"
    file.write_text('{"request": "a", "answer": [1.0, true]}\n{}\n')
    with pytest.raises(ValueError, match=r"0.jsonl: line 2 is damaged .*; delete the file"):
        _read(file)
    file.write_text('{"request": "a", "answer": [1.5, true]}\n')
    assert _read(file) == {"a": (1.5, True)}
