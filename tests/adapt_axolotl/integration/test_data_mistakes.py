"""What a recipe's files tell before training: only what is certain, and what training says too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.data.shared import get_dataset_type
from axolotl.utils.dict import DictDefault
from datasets import Dataset
from transformers import AutoTokenizer

from adapt_axolotl.data import first_rows as first_rows_module
from adapt_axolotl.data.columns import supervised_tokens
from adapt_axolotl.data.first_rows import first_rows
from adapt_axolotl.integration.data_mistakes import data_mistakes, loader_of
from adapt_axolotl.integration.row_types import _COLUMNS, _NO_ANSWER, columns_read
from adapt_axolotl.integration.tokenised import tokenised
from tests.support.launch import recipe

CHAT = {
    "messages": [
        {"role": "user", "content": "a question"},
        {"role": "assistant", "content": "an answer"},
    ]
}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "a question"},
        {"from": "gpt", "value": "an answer"},
    ]
}
FROM = {"role": "from", "content": "value"}
EMPTY = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}
ALPACA = {"instruction": "do", "input": "", "output": "done"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(rows: list[Any], name: str = "b.jsonl", **entry: Any) -> dict[str, Any]:
    """A recipe of two tasks: a is fine, b has these rows and keys."""
    for file, content in (("a.jsonl", [CHAT] * 20), (name, rows)):
        Path(file).write_text("".join(json.dumps(row) + "\n" for row in content))
    return {
        "adapt": {"token_budget": "5%"},
        "datasets": [
            {"path": "a.jsonl", "task": "a", "type": "chat_template"},
            {"path": name, "task": "b", "type": "chat_template", **entry},
        ],
    }


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        (CHAT, {}),
        (CHAT, {"roles_to_train": ["gpt"]}),  # another name of assistant
        ({"chat": CHAT["messages"]}, {"field_messages": "chat"}),
        ({"messages": json.dumps(CHAT["messages"])}, {}),
        (
            SHAREGPT,
            {"field_messages": "conversations", "message_property_mappings": FROM},
        ),
        (
            SHAREGPT,
            {
                "field_messages": "conversations",
                "message_field_role": "from",
                "message_field_content": "value",
            },
        ),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            {"roles": {"assistant": ["bot"], "user": ["human"]}},
        ),
        (
            {"messages": [{"role": "user", "content": "x", "train": True}]},
            {"message_field_training": "train"},
        ),
        ({"messages": [{"role": "user", "content": "x"}]}, {"train_on_eos": "all"}),
        ({"messages": [{"role": "user", "content": [{"text": "x", "train": True}]}]}, {}),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}]},
            {},
        ),
        (ALPACA, {"type": "alpaca"}),
        (ALPACA, {"type": "alpaca:phi"}),
        (ALPACA, {"type": "alpaca_chat.load"}),
        ({"question": "q", "answer": "a"}, {"type": "alpaca_chat.load_qa"}),
        ({"text": "x"}, {"type": "completion"}),
        ({"body": "x"}, {"type": "completion", "field": "body"}),
        ({"segments": [{"label": True, "text": "x"}]}, {"type": "input_output"}),
        (
            {"q": "x", "a": "y"},
            {"type": {"field_instruction": "q", "field_output": "a", "format": "{instruction}"}},
        ),
        ({"anything": 1}, {"type": "their_package.strategy"}),
        ({"anything": 1}, {"type": "creative_acr.load_answer"}),
        ({"input_ids": [1], "attention_mask": [1], "labels": [1]}, {"type": None}),
        ({"input_ids": [1], "attention_mask": [1], "labels": [1]}, {"type": "alpaca"}),
        (ALPACA, {"type": "alpaca", "split": "train[:50%]"}),
    ],
)
def test_what_trains_is_no_mistake(row: Any, entry: dict[str, Any]) -> None:
    assert data_mistakes(made([row] * 20, **entry)) == []


@pytest.mark.parametrize(
    ("row", "entry", "says"),
    [
        (
            SHAREGPT,
            {},
            "type: chat_template reads the column messages, which is not there; the columns are "
            "conversations: correct type: or field_messages:",
        ),
        (
            SHAREGPT,
            {"field_messages": "conversations"},
            "no message has the key role, which says who speaks; the keys are from, value: set "
            "message_property_mappings: {role: from, content: value}",
        ),
        (
            CHAT,
            {"roles_to_train": ["bot"]},
            "no message has a role of roles_to_train (bot); the roles are user, assistant: correct "
            "roles_to_train:, or name under roles: what each of them stands for",
        ),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            {},
            "no message has a role of roles_to_train (assistant); the roles are bot",
        ),
        (
            {"prompt": "x", "output": "y"},
            {"type": "alpaca"},
            "type: alpaca reads the column instruction, which is not there; the columns are "
            "output, prompt: correct type:, or the file",
        ),
        (
            {**ALPACA, "output": ""},
            {"type": "alpaca"},
            "the column output, which is learned, is empty in every row",
        ),
        (EMPTY, {}, "every message of assistant is empty; fill them"),
        ({"body": "x"}, {"type": "completion"}, "reads the column text, which is not there"),
        ({"body": "x"}, {"type": "completion"}, "correct type: or field:"),
        (
            {"q": "x", "a": "y"},
            {"type": {"field_instruction": "q", "format": "{instruction}"}},
            "its type: block reads the column output, which is not there; the columns are a, q: "
            "correct type: or type.field_output:",
        ),
        (CHAT, {"split": "test"}, "files have one split, train, and split: asks for test"),
    ],
)
def test_rows_of_another_kind_are_told(row: Any, entry: dict[str, Any], says: str) -> None:
    (said,) = data_mistakes(made([row] * 20, **entry))
    assert said.certain
    assert said.text.startswith("datasets[1] (b.jsonl) of task 'b': ")
    assert says in said.text


def test_what_only_the_first_rows_show_stops_nobody() -> None:
    rows = [{**ALPACA, "output": ""}] * 300
    (said,) = data_mistakes(made(rows, type="alpaca"))
    assert "is empty in every row in its first 200 rows" in said.text
    assert not said.certain
    (said,) = data_mistakes(made([CHAT] * 300, roles_to_train=["bot"]))
    assert not said.certain


# What the column messages may hold that is no list of messages.
NO_MESSAGES = [
    (None, "is null or missing"),
    ([], "has no message"),
    ("[]", "has no message"),
    ("hello", "is text that is not JSON"),
    ('{"role": "user"}', "is {'role': 'user'} and no list of messages"),
    ('["hello"]', "holds 'hello', which is no message"),
]


@pytest.mark.parametrize(("value", "says"), NO_MESSAGES)
def test_a_row_without_messages_is_told_with_its_line(value: Any, says: str) -> None:
    good = {"messages": json.dumps(CHAT["messages"])} if isinstance(value, str) else CHAT
    config = made([good] * 20)
    lines = [json.dumps(good)] * 20
    lines[4:6] = ["", json.dumps({"messages": value})]
    Path("b.jsonl").write_text("\n".join(lines))
    (said,) = data_mistakes(config)
    assert said.text == (
        f"datasets[1] (b.jsonl) of task 'b': b.jsonl, line 6: messages {says}; correct or remove it"
    )
    assert said.certain
    # Of a part of the file it may not be one.
    config["datasets"][1]["split"] = "train[:50%]"
    assert not data_mistakes(config)[0].certain


def test_a_row_without_messages_is_told_with_its_number_where_it_has_no_line() -> None:
    config = made([CHAT] * 20)
    Path("folder").mkdir()
    Path("folder/one.json").write_text(json.dumps([CHAT] * 3))
    Path("folder/two.json").write_text(json.dumps([CHAT, {"messages": None}, {"other": 1}]))
    files = ["folder/one.json", "folder/two.json"]
    config["datasets"][1] |= {"path": "folder", "data_files": files, "ds_type": "json"}
    said = data_mistakes(config)[0].text
    assert "folder/two.json, row 2: messages is null or missing (and 1 more row like" in said


def test_a_file_that_cannot_be_read_is_told_with_its_line() -> None:
    config = made([CHAT] * 20)
    Path("b.jsonl").write_text(json.dumps(CHAT) + "\n{broken\n")
    (said,) = data_mistakes(config)
    assert said.text.startswith(
        "datasets[1] (b.jsonl) of task 'b': cannot be read: b.jsonl, line 2: is not JSON"
    )
    Path("b.jsonl").write_text("\n")
    assert data_mistakes(config)  # no rows
    config["datasets"][1] |= {"path": "b.parquet", "type": "alpaca"}
    Path("b.parquet").write_text("no parquet")
    (said,) = data_mistakes(config)
    assert "cannot be read: b.parquet: " in said.text


def test_csv_and_parquet_are_looked_at_and_pickles_are_not() -> None:
    config = made([CHAT] * 20, type="alpaca")
    data = Dataset.from_dict({"instruction": ["x"] * 20, "response": ["y"] * 20})
    for name, write in (("b.csv", data.to_csv), ("b.parquet", data.to_parquet)):
        write(name)
        config["datasets"][1]["path"] = name
        (said,) = data_mistakes(config)
        assert "type: alpaca reads the column output, which is not there" in said.text
    # Files in a folder.
    Path("folder").mkdir()
    files = {"path": "folder", "data_files": ["b.csv", "b.csv"], "ds_type": "csv"}
    config["datasets"][1] |= files
    (said,) = data_mistakes(config)
    assert said.text.startswith("datasets[1] (folder) of task 'b': type: alpaca reads the column")
    config["datasets"][1] |= {"path": "b.pkl", "ds_type": "pandas"}
    Path("b.pkl").write_bytes(b"\x80not a pickle")
    assert data_mistakes(config) == []


def test_a_task_too_small_to_split_needs_test_datasets() -> None:
    config = made([CHAT])
    (said,) = data_mistakes(config)
    assert said.certain
    assert said.text.startswith("task 'b' has 1 distinct row, too few to hold out 2")
    config["test_datasets"] = [{"path": "a.jsonl", "task": "b", "type": "chat_template"}]
    assert data_mistakes(config) == []
    # An entry that is not a file may bring the rows.
    del config["test_datasets"]
    config["datasets"].append({"path": "org/name", "task": "b", "type": "chat_template"})
    assert data_mistakes(config) == []
    # A row of completion may be cut into several.
    assert data_mistakes(made([{"text": "x"}], type="completion")) == []


def test_a_large_file_is_read_at_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows_module, "_FIRST_BYTES", 1000)
    made([CHAT] * 100)
    first = first_rows(Path("b.jsonl"), "json")
    assert first is not None
    assert not first.whole
    assert 1 < len(first.rows) < 100
    Path("document.json").write_text(json.dumps([CHAT] * 100))
    whole = first_rows(Path("document.json"), "json")
    assert whole is not None
    assert (len(whole.rows), whole.whole) == (100, True)
    # A document that spans lines is no mistake, and what is too large is not read.
    Path("object.json").write_text(json.dumps({"text": ["x"] * 500}, indent=1))
    assert first_rows(Path("object.json"), "json") is not None
    monkeypatch.setattr(first_rows_module, "_WHOLE_BYTES", 2000)
    assert first_rows(Path("document.json"), "json") is None
    assert first_rows(Path("object.json"), "json") is None


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "x.jsonl"},
        {"path": "x.csv"},
        {"path": "x.parquet"},
        {"path": "x.parquet", "ds_type": "json"},
        {"path": "x.txt"},
        {"path": "folder.arrow/x"},
    ],
)
def test_the_loader_of_a_file_is_axolotls(entry: dict[str, Any]) -> None:
    assert loader_of(entry) == get_dataset_type(DictDefault(entry))


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny / "model")


def supervised(kind: Any, row: Mapping[str, Any], tokenizer: Any, tiny: Path, **keys: Any) -> int:
    entry = DictDefault({"path": "b.jsonl", "type": kind, **keys})
    cfg = DictDefault({**recipe(tiny, tiny / "unused"), "datasets": [entry], "dataset_num_proc": 0})
    rows = tokenised(cfg, entry, Dataset.from_list([dict(row)]), tokenizer, "here")
    return int(supervised_tokens(rows).sum())


@pytest.mark.parametrize(
    "kind", [*_COLUMNS, *_NO_ANSWER, "completion", "alpaca:phi", "alpaca_chat.load"]
)
def test_axolotl_reads_these_columns(kind: str, tokenizer: Any, tiny: Path) -> None:
    reads = columns_read({"type": kind})
    assert reads is not None
    row: dict[str, Any] = dict.fromkeys(reads.needed, "some words")
    if kind == "input_output":
        row["segments"] = [{"label": True, "text": "some words"}]
    assert supervised(kind, row, tokenizer, tiny) > 0
    for column in reads.needed:
        left = {name: value for name, value in row.items() if name != column}
        with pytest.raises(ValueError, match="cannot read its rows as type"):
            supervised(kind, left or {"other": "x"}, tokenizer, tiny)
    if reads.answer is not None and not reads.completion:
        assert supervised(kind, {**row, reads.answer: ""}, tokenizer, tiny) == 0


def test_axolotl_stops_at_the_same_conversations(tokenizer: Any, tiny: Path) -> None:
    def learned(row: Mapping[str, Any], **keys: Any) -> int:
        return supervised("chat_template", row, tokenizer, tiny, **keys)

    assert learned(CHAT) > 0
    assert learned(CHAT, roles_to_train=["gpt"]) > 0
    assert learned(CHAT, roles_to_train=["bot"]) == 0
    for keys in ({}, {"field_messages": "conversations"}):
        with pytest.raises(ValueError, match="cannot read its rows as type: chat_template"):
            learned(SHAREGPT, **keys)
    assert learned(EMPTY) == 0
    for value, _ in NO_MESSAGES:
        with pytest.raises(ValueError, match="cannot read its rows as type: chat_template"):
            learned({"messages": value})
