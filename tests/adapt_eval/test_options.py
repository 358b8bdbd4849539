"""What lm-eval takes is passed through to it; what it would not understand is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from adapt_eval.options import Options, check, parse_model_args
from adapt_eval.results import read_result
from adapt_eval.suite import load_suite
from tests.adapt_eval.conftest import Command

ONE = ["--suite", "tiny", "--only", "tiny_sums", "--limit", "4"]


def checked(**changes: Any) -> None:
    options = Options(run="model", suite="tiny", allow_code_execution=True, unsafe=True, **changes)
    check(options, load_suite("tiny"), [])


def test_model_args_are_read_as_lm_eval_reads_them() -> None:
    assert parse_model_args(None) == parse_model_args("") == {}
    assert parse_model_args("parallelize=True,max_memory=a=b") == {
        "parallelize": "True",
        "max_memory": "a=b",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("parallelize", "key=value, several with commas between them"),
        ("parallelize=", "key=value, several with commas between them"),
        ("a=1,a=2", "a: is given twice; keep one"),
        ("pretrained=other", "pretrained: RUN says this; leave it out here"),
        ("dtype=float16", "dtype: --dtype says this; leave it out here"),
    ],
)
def test_other_forms_of_model_args_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked(model_args=text)


def test_a_batch_size_may_be_searched_several_times() -> None:
    for size in ("8", "auto", "auto:4"):
        checked(batch_size=size)
    for size in ("0", "auto:", "auto:0", "4:auto"):
        with pytest.raises(
            ValueError, match=f"--batch-size {size}: a number of 1 or more, or auto"
        ):
            checked(batch_size=size)


@pytest.mark.slow
def test_an_argument_reaches_the_model_and_belongs_to_the_result(
    model: Path, tmp_path: Path, command: Command
) -> None:
    call = ["run", model, *ONE, "--output", tmp_path]
    done = command(*call, "--model-args", "nonsense=1")
    assert done.returncode == 2
    assert "--model-args: lm-eval's hf model does not take one of them (nonsense)" in done.stderr
    done = command(*call, "--model-args", "max_length=64")
    assert done.returncode == 0, done.stderr
    assert read_result(tmp_path / "tiny_sums.json").content.fingerprint.model_args == (
        "max_length=64"
    )
    done = command(*call)
    assert done.returncode == 2
    assert "was measured with another model_args; --force measures again" in done.stderr


@pytest.mark.slow
def test_a_template_may_go_to_every_benchmark_with_examples_as_turns_or_not(
    model: Path, tmp_path: Path, command: Command
) -> None:
    prompts = {}
    for name, more in (("turns", []), ("one", ["--no-fewshot-as-multiturn"])):
        folder = tmp_path / name
        done = command("run", model, *ONE, "--output", folder, "--apply-chat-template", *more)
        assert done.returncode == 0, done.stderr
        table = pyarrow.parquet.read_table(folder / "tiny_sums.samples.parquet")
        prompts[name] = str(table["prompt"][0])
    # Two examples of question and answer, then the question.
    assert prompts["turns"].count("<|im_start|>") == 6
    assert prompts["one"].count("<|im_start|>") == 2
    done = command("compare", tmp_path / "turns", tmp_path / "one")
    assert done.returncode == 4
    assert "fewshot_as_multiturn is None in one, False in the other" in done.stderr
