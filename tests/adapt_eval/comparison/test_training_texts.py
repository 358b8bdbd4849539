"""Training rows are read from every kind of local file that Axolotl reads."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
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
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[file.suffix]
    file.write_bytes(pack("\n".join(json.dumps(row) for row in ROWS).encode()))


def arrow(file: Path) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)


def damaged_gzip() -> bytes:
    """Compressed rows with wrong bytes in the middle."""
    found = bytearray(gzip.compress("\n".join(json.dumps(row) for row in ROWS * 50).encode()))
    found[40:60] = b"\xff" * 20
    return bytes(found)


WRITERS: dict[str, Callable[[Path], object]] = {
    "qa.jsonl": lines,
    "qa.json": lambda file: file.write_text(json.dumps(ROWS, indent=1)),
    "qa.ndjson": lines,
    "qa.jsonl.gz": packed,
    "qa.jsonl.bz2": packed,
    "qa.jsonl.xz": packed,
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
    assert sorted(found.rows["qa"]) == sorted(TEXTS * 3)
    assert found.not_read == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.jsonl", b'{"a": "b"}\n{', "line 2 is not JSON"),
        ("bad.json", b"[1, 2", "is not JSON"),
        ("bad.parquet", b"PAR1 and no more", "is damaged"),
        ("bad.jsonl", b"\xff\xfe", "utf-8"),
        ("bad.pickle", b"x", "no kind of data file that is known"),
        ("bad.jsonl.gz", damaged_gzip(), "is damaged"),
        ("bad.jsonl.xz", b"not compressed at all", "is damaged"),
        ("bad.jsonl.zst", b"(\xb5/\xfd\x04\x00junk", ""),
        ("bad.jsonl", b"[" * 100_000, "nested too deeply"),
        ("bad.jsonl", b"", "holds no rows"),
        ("LICENSE_bad.pickle", b"x", "no kind of data file that is known"),
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


def test_every_data_file_is_read_whatever_it_is_called_and_what_describes_data_is_left_out(
    tmp_path: Path,
) -> None:
    lines(tmp_path / "LICENSE_texts.jsonl")
    lines(tmp_path / "README.txt")
    for name in ("README.md", "LICENSE", "dataset_info.json", ".hidden.jsonl"):
        (tmp_path / name).write_text("{}")
    found = texts_below(tmp_path)
    assert set(found.rows) == {"LICENSE_texts", "README"}
    assert found.not_read == []


def test_the_first_folder_names_the_task(tmp_path: Path) -> None:
    for task in ("qa", "sums"):
        (tmp_path / task / "data").mkdir(parents=True)
        lines(tmp_path / task / "data" / "train.jsonl")
    assert texts_below(tmp_path).rows == {"qa": TEXTS, "sums": TEXTS}


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "qa.jsonl").write_text(text, encoding="utf-8-sig")
    assert texts_below(tmp_path).rows == {"qa": TEXTS}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--train .*gone: no such directory"):
        texts_below(tmp_path / "gone")


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


@pytest.mark.parametrize(
    ("entry", "read", "missing"),
    [
        ("path: json, data_files: [DIR/qa.jsonl, DIR/gone.jsonl]", 2, ["gone.jsonl"]),
        ("path: json, data_files: DIR/*.jsonl", 2, []),
        ("path: json, data_files: {train: DIR/qa.jsonl}", 2, []),
        ("path: DIR, data_files: sub/two.jsonl", 2, []),
        ("path: json, data_files: DIR/sub", 2, []),
        ("path: DIR/qa.dat, ds_type: json", 2, []),
        ("path: DIR/qa.dat", 2, []),
        ("path: DIR", 4, ["qa.dat"]),
    ],
)
def test_files_are_found_as_axolotl_finds_them(
    entry: str, read: int, missing: list[str], tmp_path: Path
) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("qa.jsonl", "sub/two.jsonl", "qa.dat"):
        lines(tmp_path / "data" / name)
    text = f"{{datasets: [{{{entry}, task: qa}}]}}".replace("DIR", str(tmp_path / "data"))
    found = training_texts(recipe(tmp_path / "run", text))
    assert {task: len(texts) for task, texts in found.rows.items()} == {"qa": read}
    assert [Path(one.file).name for one in found.not_read] == missing


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[: {", "is not YAML"),
        ("[1]", r"recipe is \[1\], not an object"),
        ("{datasets: [abc]}", r'recipe.datasets.0 is "abc", not an object'),
        ("{datasets: abc}", r'recipe.datasets is "abc", not a list'),
        ("{datasets: [{path: a}], adapt: {train_tasks: [a, b]}}", "2 adapt.train_tasks for 1 dat"),
    ],
)
def test_a_damaged_recipe_is_told_with_its_file(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        training_texts(recipe(tmp_path / "run", text))
    assert "config.yml" in str(caught.value)
    assert "--train DIR" in str(caught.value)
