"""Damaged files in a run's folder are one message with the file and a remedy that works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapt_eval.comparison.arms import read_arms, read_run
from adapt_eval.comparison.compare import compare
from adapt_eval.history import mixture_history
from adapt_eval.progress import Reporter
from adapt_eval.results import MANIFEST
from adapt_eval.run import Options, plan, run_suite
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import made_ledger, made_run


@pytest.fixture
def own(tiny_run: Path, tmp_path: Path) -> Path:
    """A measured run that a test may damage."""
    return Path(shutil.copytree(tiny_run, tmp_path / "own"))


def options(run: Path) -> Options:
    return Options(str(run), suite="tiny", allow_code_execution=True, unsafe=True)


@pytest.mark.parametrize("content", ["{}", '{"suite": null}', "[]", '{"model"', None])
def test_a_damaged_or_missing_manifest_is_written_again_and_nothing_is_measured(
    content: str | None, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = own / "eval" / "tiny" / MANIFEST
    whole = json.loads(file.read_text())
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="run adapt-eval run") as caught:
        read_run(own, None)
    assert "force" not in str(caught.value)
    with Reporter() as reporter:
        run_suite(options(own), reporter)
    assert "measuring" not in capsys.readouterr().err
    again = json.loads(file.read_text())
    assert {**again, "made": "", "options": {}} == {
        **whole,
        "made": "",
        "options": {},
        "model": {
            **whole["model"],
            "name": str(own),
            "folders": [str(own)],
        },
    }
    assert read_run(own, None).results


@pytest.mark.parametrize("content", ["{}", '{"suite": null}'])
def test_the_commands_say_it_in_one_line(content: str, tmp_path: Path, command: Command) -> None:
    run = made_run(tmp_path / "run", {"sums": [1.0]})
    other = made_run(tmp_path / "other", {"sums": [1.0]})
    (run / "eval" / "made" / MANIFEST).write_text(content)
    for arguments in (("overlap", run), ("compare", other, run)):
        done = command(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"{MANIFEST}: model is missing; suite is" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{}", "unit is missing"),
        (b"[1]", "is not a JSON object"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (json.dumps({**made_ledger(a=1), "used": "x"}).encode(), 'used is "x", not a number'),
    ],
)
def test_a_damaged_ledger_is_told_before_anything_is_measured(
    content: bytes, says: str, own: Path
) -> None:
    (own / "adapt").mkdir()
    (own / "adapt" / "ledger.json").write_bytes(content)
    with Reporter() as reporter, pytest.raises(ValueError, match=says) as caught:
        plan(options(own), reporter)
    assert str(own / "adapt" / "ledger.json") in str(caught.value)
    assert "restore it, or train again" in str(caught.value)


def test_weights_replaced_after_measuring_are_told_by_a_comparison(
    tiny_runs: list[Path], tmp_path: Path
) -> None:
    first, second = (Path(shutil.copytree(run, tmp_path / run.name / "copy")) for run in tiny_runs)
    for run in (first, second):
        file = run / "eval" / "tiny" / MANIFEST
        content = json.loads(file.read_text())
        content["model"]["folders"] = [str(run)]
        file.write_text(json.dumps(content))

    def notes() -> list[str]:
        arms = read_arms([f"a={first}", f"b={second}"], None)
        return [note for note in compare(arms).notes if "another than the one" in note]

    assert notes() == []
    shutil.copy2(first / "model.safetensors", second / "model.safetensors")
    (note,) = notes()
    assert note.startswith(f"{second}: the model in {second} is another")


FIRST = {"tokens": 1, "proportions": {"a": 1.0}}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"tokens": 2, "proportions": {"a": None}}, "line 2: proportions.a is null, not a number"),
        ({"tokens": 2, "proportions": [1]}, r"line 2: proportions is \[1\], not an object"),
        ({"proportions": {"a": 1.0}}, "line 2: tokens is missing"),
        ({"tokens": "many", "proportions": {"a": 1}}, 'line 2: tokens is "many", not a number'),
        ({"tokens": float("nan"), "proportions": {"a": 1}}, "line 2: tokens is NaN"),
        ("text", "line 2: is not a JSON object"),
    ],
)
def test_a_damaged_history_is_told_with_its_line(second: Any, says: str, tmp_path: Path) -> None:
    file = tmp_path / "adapt" / "history.jsonl"
    file.parent.mkdir()
    file.write_text(f"{json.dumps(FIRST)}\n{json.dumps(second)}\n")
    with pytest.raises(ValueError, match=says) as caught:
        mixture_history(tmp_path)
    assert str(file) in str(caught.value)


def test_a_history_that_is_no_text_is_told_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "adapt" / "history.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match=r"history.jsonl: is not text"):
        mixture_history(tmp_path)


def test_lines_without_a_mixture_are_no_damage(tmp_path: Path) -> None:
    assert mixture_history(tmp_path) == []
    file = tmp_path / "adapt" / "history.jsonl"
    file.parent.mkdir()
    file.write_text(f'{{"loss": 1}}\n{json.dumps(FIRST)}\n')
    assert [line.proportions for line in mixture_history(tmp_path)] == [{"a": 1.0}]
