"""Overlap of benchmarks with training data, by name and by text."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.overlap import (
    matches,
    overlap_of_texts,
    overlap_table,
)
from adapt_eval.schema import BenchmarkOverlap
from adapt_eval.suite import load_suite
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import made_ledger, made_run

LONG = " ".join(f"word{n}" for n in range(30))


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not() -> None:
    words = LONG.split()
    rows = {
        "thirteen": ["before " + " ".join(words[5:18]).upper() + ", after."],
        "twelve": [" ".join(words[5:17]) + " other"],
    }
    found = overlap_of_texts({"bench": [[LONG], ["nothing of the kind is in here at all"]]}, rows)
    assert found == {"bench": BenchmarkOverlap(items=2, by={"thirteen": 1})}


def test_short_fields_overlap_as_a_whole_and_very_short_ones_never() -> None:
    eight = "one two three four five six seven eight"
    found = overlap_of_texts(
        {"bench": [[eight], ["one two three"]]}, {"task": [f"so: {eight} and one two three"]}
    )
    assert found["bench"].by == {"task": 1}


def test_natural_instructions_tasks_are_known_by_number() -> None:
    names = {one.task: one.names for one in load_suite("ood11").benchmarks}
    assert matches("task228_arc_answer_generation_easy", names["arc_challenge"])
    assert matches("task380_boolq_yes_no_question", names["boolq"])
    assert not matches("task228_arc_answer_generation_easy", names["boolq"])


@pytest.mark.parametrize("name", ["drop", "race", "bbh", "BIG-bench", "arc", "arc-challenge"])
def test_a_benchmark_in_the_mixture_is_known_by_its_name(name: str) -> None:
    all_names = [part for one in load_suite("ood11").benchmarks for part in one.names]
    assert matches(name, all_names)


@pytest.mark.parametrize("name", ["trace_links", "embrace_text", "backdrop_story", "archive"])
def test_a_name_inside_of_a_word_is_no_benchmark(name: str) -> None:
    all_names = [part for one in load_suite("ood11").benchmarks for part in one.names]
    assert not matches(name, all_names)


@pytest.mark.slow
def test_the_command_compares_texts_and_compare_shows_them(
    tmp_path: Path, command: Command
) -> None:
    data = tmp_path / "data" / "leaky"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text(json.dumps({"messages": [{"content": LONG}]}) + "\n")
    (data.parent / "clean.txt").write_text("nothing of the benchmark\n")
    ledger = made_ledger(leaky=10, boolq_like=10, clean=10)
    documents = [json.dumps({"question": LONG}), "{}"]
    runs = [
        made_run(
            tmp_path / name,
            {"sums": [1.0, 0.0]},
            ledger=ledger,
            names=["boolq"],
            documents=documents,
        )
        for name in ("base", "new")
    ]
    before = overlap_table(read_arms([str(one) for one in runs], None), ["sums"])
    assert [one.by_name for one in before] == [False, True, False]
    assert {one.by_text for one in before} == {None}
    done = command("overlap", runs[0], "--train", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "leaky" in done.stdout
    lines = json.loads(command("compare", *runs, "--json").stdout)["overlap"]
    by_task = {one["training_task"]: one for one in lines}
    assert (by_task["leaky"]["by_text"], by_task["leaky"]["items"]) == (1, 2)
    assert by_task["clean"]["by_text"] == 0
    assert by_task["boolq_like"]["by_text"] is None  # of it no rows were read
    said = command("compare", *runs, "--markdown").stdout
    assert "by name, 2 of 3 pairs by text too" in said
    # Measured again since, on other items: what was compared then is not these.
    made_run(runs[0], {"sums": [1.0]}, ledger=ledger, names=["boolq"], documents=["{}"])
    after = overlap_table(read_arms([str(one) for one in runs], None), ["sums"])
    assert {one.by_text for one in after} == {None}


def test_the_command_names_what_it_did_not_read(tmp_path: Path, command: Command) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": [LONG]}), data / "leaky.parquet")
    (data / "odd.bin").write_bytes(b"\x00")
    (data / "broken.jsonl").write_text('{"a": "fine"}\n{"a"')
    run = made_run(
        tmp_path / "run",
        {"sums": [1.0]},
        ledger=made_ledger(leaky=10),
        documents=[json.dumps({"question": LONG})],
    )
    done = command("overlap", run, "--train", data, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["benchmarks"]["sums"]["by"] == {"leaky": 1}
    reasons = {Path(one["file"]).name: one["reason"] for one in found["not_read"]}
    assert set(reasons) == {"odd.bin", "broken.jsonl"}
    assert "no kind of data file" in reasons["odd.bin"]
    assert "line 2 is not JSON" in reasons["broken.jsonl"]
    assert done.stderr.count("not read, so not compared") == 2
    other = made_run(tmp_path / "other", {"sums": [1.0]}, documents=["{}"])
    notes = json.loads(command("compare", other, run, "--json").stdout)["notes"]
    [note] = [one for one in notes if "not searched for benchmark items" in one]
    assert note.startswith(f"{run}: training data that was not searched for benchmark items: ")
    assert "and 1 more" in note
