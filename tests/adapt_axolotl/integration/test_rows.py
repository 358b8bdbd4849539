"""Entries become tasks: names, splits, leaks, caches, and mistakes that name the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from axolotl.cli.config import load_cfg
from axolotl.loaders import load_tokenizer

from adapt_axolotl.data import tasks as tasks_module
from adapt_axolotl.data.cache import RowsRead
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.integration.rows import load_recipe_tasks
from adapt_axolotl.integration.spec import read_spec
from tests.support.launch import recipe

Row = tuple[str, str]


def load(config: dict[str, Any], folder: Path, *, fresh: bool = False) -> Tasks:
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(config))
    cfg = load_cfg(str(file))
    return load_recipe_tasks(cfg, read_spec(cfg), load_tokenizer(cfg), fresh=fresh)


def write(file: Path, rows: list[Row]) -> str:
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
        for prompt, answer in rows
    ]
    file.write_text("\n".join(lines) + "\n")
    return str(file)


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Two tasks of 40 rows without validation of their own."""
    made = recipe(tiny, tmp_path / "run", dataset_prepared_path=str(tmp_path / "prepared"))
    made["adapt"] = {"token_budget": "50%", "mixture": "uniform"}
    made.pop("test_datasets")
    made["datasets"] = made["datasets"][:2]
    for entry, name in zip(made["datasets"], "ab", strict=True):
        rows = [(f"{name} {number}", f"answer {number}") for number in range(40)]
        entry |= {"task": name, "path": write(tmp_path / f"{name}.jsonl", rows)}
    return made


def prompts(tasks: Tasks, split: str) -> set[tuple[int, ...]]:
    return {tuple(row) for row in getattr(tasks, split)["input_ids"]}


def test_rows_that_sequence_len_leaves_out_are_counted(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rows = [(f"a {number}", f"answer {number}") for number in range(40)]
    write(tmp_path / "a.jsonl", [*rows, *((f"{prompt} " * 50, "x") for prompt, _ in rows[:30])])
    for _ in range(2):  # tokenised, then from the prepared folder
        tasks = load(config, tmp_path)
        assert tasks.read == {"a": RowsRead(70, 30), "b": RowsRead(40, 0)}


def test_a_split_is_carved_from_every_task_and_kept_apart(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["adapt"]["val_examples"] = 10
    rows = [(f"a {number}", f"answer {number}") for number in range(40)]
    write(tmp_path / "a.jsonl", rows + rows[:20])  # doubled rows
    tasks = load(config, tmp_path)
    assert tasks.names == ("a", "b")
    assert tasks.validation_pools.rows_of_task.tolist() == [10, 10]
    assert not prompts(tasks, "train") & prompts(tasks, "validation")
    # Of a's 30 other rows some are doubled; b keeps exactly its other 30.
    assert tasks.pools.rows_of_task[1] == 30
    assert set(tasks.validation_by_task()) == {"a", "b"}


def test_counts_are_those_of_the_labels(config: dict[str, Any], tmp_path: Path) -> None:
    tasks = load(config, tmp_path)
    for number in range(0, len(tasks.train), 7):
        row = tasks.train[number]
        supervised = sum(label != -100 for label in row["labels"])
        assert tasks.pools.supervised_tokens[number] == supervised > 0
        assert tasks.pools.lengths[number] == len(row["input_ids"])
    assert not [column for column in tasks.train.column_names if column.startswith("adapt_")]


def test_entries_that_share_a_name_are_one_task(config: dict[str, Any], tmp_path: Path) -> None:
    third = {**config["datasets"][0], "path": write(tmp_path / "c.jsonl", [("c", "d")] * 3)}
    config["datasets"].append(third)
    tasks = load(config, tmp_path)
    assert tasks.names == ("a", "b")
    assert tasks.pools.rows_of_task[0] + tasks.validation_pools.rows_of_task[0] >= 41


def test_a_training_row_that_validates_another_task_is_dropped(
    config: dict[str, Any], tmp_path: Path
) -> None:
    shared = [(f"a {number}", f"answer {number}") for number in range(5)]
    entry = {**config["datasets"][1], "path": write(tmp_path / "v.jsonl", shared), "split": "train"}
    config["test_datasets"] = [entry]  # validation of b holds rows of a
    tasks = load(config, tmp_path)
    assert not prompts(tasks, "train") & prompts(tasks, "validation")
    carved = prompts(tasks, "validation") - {
        tuple(row) for row in tasks.validation_by_task()["b"]["input_ids"]
    }
    assert tasks.pools.rows_of_task.tolist() == [40 - 5 - len(carved), 40]


@pytest.mark.parametrize("deduplicated", [False, True])
def test_many_copies_are_told_with_the_remedy(
    deduplicated: bool, config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copied = [(f"c {number % 30}", "answer") for number in range(60)]
    config["datasets"].append(
        {**config["datasets"][0], "path": write(tmp_path / "c.jsonl", copied), "task": "c"}
    )
    config["dataset_exact_deduplication"] = deduplicated
    tasks = load(config, tmp_path)
    rows = tasks.pools.rows_of_task[2]
    told = f"task 'c': {rows // 2} of {rows} training rows are copies" in caplog.text
    assert told != deduplicated
    assert "task 'a'" not in caplog.text


def test_the_second_load_reads_the_prepared_folder_and_an_edit_does_not(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(config, tmp_path)
    built = []
    build = tasks_module._build
    monkeypatch.setattr(tasks_module, "_build", lambda *args: built.append(1) or build(*args))
    again = load(config, tmp_path)
    assert not built
    assert (again.pools.supervised_tokens == first.pools.supervised_tokens).all()
    write(tmp_path / "a.jsonl", [(f"a {number}", "other") for number in range(30)])
    edited = load(config, tmp_path)
    assert built
    assert edited.pools.rows_of_task[0] < first.pools.rows_of_task[0]


def test_an_edit_of_the_same_size_gives_another_digest(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """By it a checkpoint is known to be of other rows: counts and lengths do not show it."""
    first = load(config, tmp_path)
    rows = [(f"a {number}", f"answer {number}") for number in range(40)]
    rows[7], rows[8] = ("a 7", "answer 8"), ("a 8", "answer 7")
    write(tmp_path / "a.jsonl", rows)
    edited = load(config, tmp_path, fresh=True)
    assert (edited.pools.rows_of_task == first.pools.rows_of_task).all()
    assert (edited.pools.available_tokens == first.pools.available_tokens).all()
    assert edited.digest != first.digest
    assert load(config, tmp_path).digest == edited.digest


def test_keys_that_decide_about_rows_are_not_served_from_the_cache(
    config: dict[str, Any], tmp_path: Path
) -> None:
    file = Path(config["datasets"][0]["path"])
    write(file, [("a 1", "answer " * 40)] * 10 + [(f"a {n}", "answer") for n in range(40)] * 2)
    assert len(load(config, tmp_path).pools.rows(0)) + 4 < 90
    config["excess_length_strategy"] = "truncate"
    every = load(config, tmp_path)
    assert every.read["a"] == RowsRead(90, 0)
    config["dataset_exact_deduplication"] = True
    once = load(config, tmp_path)
    assert len(once.pools.rows(0)) + len(once.validation_pools.rows(0)) == 41


def test_other_dataset_types_keep_working(config: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "alpaca.jsonl"
    rows = [{"instruction": f"do {n}", "input": "", "output": f"done {n}"} for n in range(40)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    config["datasets"][1] = {"path": str(file), "ds_type": "json", "type": "alpaca"}
    config["sequence_len"] = 256
    tasks = load(config, tmp_path)
    assert tasks.names == ("a", str(file))
    assert (tasks.pools.available_tokens > 0).all()


@pytest.mark.parametrize(
    ("rows", "adapt", "says"),
    [
        ([("x", "y")] * 50, {}, r"task 'a' has 1 distinct row, too few"),
        (None, {"val_examples": 30}, r"task 'a' has 40 distinct rows.*val_examples to at most 20"),
        ([("x " * 200, "y")] * 9, {}, r"datasets\[0\].*none of its 9 rows fits sequence_len: 64"),
    ],
)
def test_a_task_that_cannot_be_used_is_named_with_the_remedy(
    config: dict[str, Any], tmp_path: Path, rows: list[Row] | None, adapt: dict, says: str
) -> None:
    if rows is not None:
        write(tmp_path / "a.jsonl", rows)
    config["adapt"] |= adapt
    with pytest.raises(ValueError, match=says):
        load(config, tmp_path)


def test_a_type_that_does_not_fit_the_rows_is_named_with_their_columns(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["datasets"][1]["type"] = "alpaca"
    with pytest.raises(ValueError, match=r"datasets\[1\] .*type: alpaca .*columns are messages"):
        load(config, tmp_path)


def test_rows_without_a_supervised_token_are_left_out_or_refused(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rows = [(f"a {number}", f"answer {number}") for number in range(40)]
    write(tmp_path / "a.jsonl", [("a silent", ""), *rows])
    config["datasets"][0]["train_on_eos"] = "none"
    tasks = load(config, tmp_path)
    assert tasks.pools.rows_of_task[0] + tasks.validation_pools.rows_of_task[0] == 40
    # Nothing of the assistant is trained in the second entry.
    config["datasets"][1]["roles_to_train"] = ["nobody"]
    config["datasets"][1]["train_on_eos"] = "none"
    with pytest.raises(ValueError, match=r"datasets\[1\] .* of task 'b': no row has a supervised"):
        load(config, tmp_path)


def test_tasks_of_the_real_mixture_are_read(test_data: Path, config: dict, tmp_path: Path) -> None:
    names = ("text_to_concepts", "paraphrase_generation")
    for entry, name in zip(config["datasets"], names, strict=True):
        entry |= {"task": name, "path": str(test_data / "mixture" / name / "train.jsonl")}
    config["sequence_len"] = 512
    manifest = json.loads((test_data / "mixture" / "manifest.json").read_text())
    rows = {task["task"]: task["splits"]["train"]["rows"] for task in manifest["tasks"]}
    tasks = load(config, tmp_path)
    for k, name in enumerate(names):
        found = tasks.pools.rows_of_task[k] + tasks.validation_pools.rows_of_task[k]
        assert 0.9 * rows[name] <= found <= rows[name]
    assert np.all(tasks.pools.available_tokens > 1000)


def spoil(config: dict[str, Any], content: str | bytes, *, before: int, after: int) -> str:
    """Put `content` between good rows of the first task; gives the file."""
    file = Path(config["datasets"][0]["path"])
    lines = file.read_bytes().splitlines(keepends=True) * 3
    bad = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(b"".join([*lines[:before], bad + b"\n", *lines[:after]]))
    return str(file)


@pytest.mark.parametrize(
    ("content", "before", "says"),
    [
        ('{"messages": [{"role": "user"', 20, "line 21: is not JSON: Expecting ',' delimiter"),
        ('{"messages": [{"role": "us', 0, "line 1: is not JSON: Unterminated string"),
        (b'{"messages": "\xff"}', 5, "line 6: is not UTF-8 text (byte 0xff)"),
        ("[1, 2]", 1, "line 2: holds no object with columns but [1, 2]"),
    ],
)
def test_a_broken_line_is_named_with_task_file_and_number(
    config: dict[str, Any], tmp_path: Path, content: str | bytes, before: int, says: str
) -> None:
    file = spoil(config, content, before=before, after=20)
    with pytest.raises(ValueError, match="cannot be read") as error:
        load(config, tmp_path)
    message = str(error.value)
    assert message.startswith(f"datasets[0] ({file}) of task 'a': cannot be read: {file}, {says}")
    assert message.endswith("; correct it there, or remove the entry")


def test_a_broken_file_among_several_is_found(config: dict[str, Any], tmp_path: Path) -> None:
    file = spoil(config, "{oops}", before=3, after=3)
    folder = tmp_path / "many"
    folder.mkdir()
    good = write(folder / "0.jsonl", [(f"x {n}", "y") for n in range(9)])
    config["datasets"][0] |= {"path": str(folder), "data_files": [good, file]}
    with pytest.raises(ValueError, match=r"datasets\[0\] .* of task 'a'.*a\.jsonl, line 4: is not"):
        load(config, tmp_path)
    Path(file).rename(folder / "1.jsonl")
    config["datasets"][0] = {**config["datasets"][1], "path": str(folder), "task": "a"}
    with pytest.raises(ValueError, match=r"of task 'a'.*1\.jsonl, line 4: is not JSON"):
        load(config, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", "PAR1 cut short", "a.parquet: Parquet"),
        (
            "a.csv",
            "instruction,output\na,b\na,b,c\n",
            "a.csv: Error tokenizing data.*line 3, saw 3",
        ),
        ("a.json", '[{"instruction": "a"},\n{"instruction": "b"', "a.json, line 2: is not JSON"),
    ],
)
def test_a_damaged_file_of_another_format_is_named(
    config: dict[str, Any], tmp_path: Path, name: str, content: str, says: str
) -> None:
    (tmp_path / name).write_text(content)
    kind = name.partition(".")[2]
    config["datasets"][0] |= {"path": str(tmp_path / name), "ds_type": kind, "type": "alpaca"}
    with pytest.raises(ValueError, match=rf"(?s)datasets\[0\] .* of task 'a': cannot be.*{says}"):
        load(config, tmp_path)


def test_columns_that_change_half_way_are_named(config: dict[str, Any], tmp_path: Path) -> None:
    # Beyond the first block that `datasets` reads, which fixes the columns.
    row = json.dumps({"instruction": "a" * 1000, "output": "b"}) + "\n"
    file = tmp_path / "late.jsonl"
    file.write_text(row * 11_000 + '{"instruction": "a", "outputs": "b"}\n')
    config["datasets"][1] |= {"path": str(file), "type": "alpaca"}
    says = r"of task 'b'.*late\.jsonl, line 11001: has the column outputs, which the first rows do"
    with pytest.raises(ValueError, match=says):
        load(config, tmp_path)


def test_a_row_of_another_kind_is_found(config: dict[str, Any], tmp_path: Path) -> None:
    spoil(config, '{"messages": "a text"}', before=33, after=7)
    with pytest.raises(
        ValueError, match=r"of task 'a': .* 33 rows as type: .* not row 34 .*a text"
    ):
        load(config, tmp_path)


def test_a_folder_without_data_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    config["datasets"][0]["path"] = str(tmp_path / "none")
    with pytest.raises(ValueError, match=r"datasets\[0\] .* of task 'a': cannot be read: .*none"):
        load(config, tmp_path)


def test_what_a_chat_template_refuses_is_told_with_the_row(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["chat_template_jinja"] = (
        "{% for m in messages %}{% if m['content'] == 'a 7' %}"
        "{{ raise_exception('no sevens') }}{% endif %}"
        "{{ m['role'] + m['content'] + eos_token }}{% endfor %}"
    )
    config["chat_template"] = "jinja"
    with pytest.raises(ValueError, match=r"of task 'a': .* not row 8 .*no sevens.*correct or rem"):
        load(config, tmp_path)
