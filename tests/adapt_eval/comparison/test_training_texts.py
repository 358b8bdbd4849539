"""Training rows are read from every kind of local file that Axolotl reads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from datasets import Dataset

from adapt_eval.comparison.training_texts import texts_below, training_texts

ROWS = [{"question": "one two", "answer": "three"}, {"question": "four", "answer": "five, six"}]
TEXTS = ["one two three", "four five, six"]


def lines(file: Path) -> None:
    file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")


def packed(file: Path) -> None:
    file.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()))


def arrow(file: Path) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)


WRITERS: dict[str, Callable[[Path], object]] = {
    "qa.jsonl": lines,
    "qa.json": lambda file: file.write_text(json.dumps(ROWS, indent=1)),
    "qa.jsonl.gz": packed,
    "qa.csv": lambda file: pyarrow.csv.write_csv(pyarrow.Table.from_pylist(ROWS), file),
    "qa.tsv": lambda file: file.write_text("question\tanswer\none two\tthree\nfour\tfive, six\n"),
    "qa.parquet": lambda file: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file),
    "qa.arrow": arrow,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_is_read(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    found = texts_below(tmp_path)
    assert found.rows == {"qa": TEXTS}
    assert found.not_read == []


def test_text_files_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("one two three\nfour\n")
    assert texts_below(tmp_path).rows == {"poem": ["one two three", "four"]}


def test_a_folder_is_read_whole_and_a_saved_dataset_without_what_lies_beside(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "qa"
    Dataset.from_list(ROWS).save_to_disk(str(folder / "saved"))
    lines(folder / "train.jsonl")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "more.parquet")
    (folder / "README.md").write_text("about")
    found = texts_below(tmp_path)
    assert sorted(found.rows["qa"]) == sorted(TEXTS * 2)
    assert found.rows["saved"] == TEXTS
    assert found.not_read == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.jsonl", b'{"a": "b"}\n{', "line 2 is not JSON"),
        ("bad.json", b"[1, 2", "is not JSON"),
        ("bad.parquet", b"PAR1 and no more", "is damaged"),
        ("bad.jsonl", b"\xff\xfe", "utf-8"),
        ("bad.pickle", b"x", "no kind of data file that is known"),
    ],
)
def test_what_is_not_read_is_named_with_the_reason(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"no data files in it that can be read .*bad"):
        texts_below(tmp_path)
    lines(tmp_path / "fine.jsonl")
    found = texts_below(tmp_path)
    assert found.rows == {"fine": TEXTS}
    assert [(Path(one.file).name, reason in one.reason) for one in found.not_read] == [(name, True)]


def recipe(run: Path, text: str) -> Path:
    (run / "adapt").mkdir(parents=True, exist_ok=True)
    (run / "adapt" / "config.yml").write_text(f"recipe: {text}")
    return run


def test_training_rows_come_from_the_recipe_of_the_run(tmp_path: Path) -> None:
    rows, run = tmp_path / "qa.jsonl", tmp_path / "run"
    rows.write_text('{"a": "one", "b": ["two", {"c": "three"}]}\n')
    entry = f"datasets: [{{path: {rows}, task: qa}}]"
    assert training_texts(recipe(run, f"{{{entry}}}")).rows == {"qa": ["one two three"]}
    named = f"{{datasets: [{{path: {rows}}}], adapt: {{train_tasks: [named]}}}}"
    assert list(training_texts(recipe(run, named)).rows) == ["named"]
    by_loader = f"{{datasets: [{{path: json, data_files: {rows}, task: qa}}]}}"
    assert list(training_texts(recipe(run, by_loader)).rows) == ["qa"]


def test_a_dataset_that_is_not_here_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    lines(tmp_path / "qa.jsonl")
    text = f"{{datasets: [{{path: org/hub, task: far}}, {{path: {tmp_path}/qa.jsonl, task: qa}}]}}"
    found = training_texts(recipe(tmp_path / "run", text))
    assert found.rows == {"qa": TEXTS}
    assert [one.file for one in found.not_read] == ["org/hub"]
    with pytest.raises(ValueError, match=r"none of its training data can be read .*--train DIR"):
        training_texts(recipe(tmp_path / "run", "{datasets: [{path: org/hub, task: far}]}"))
