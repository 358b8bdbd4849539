"""What local files say of a recipe before anything is tokenised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from adapt_axolotl.commands.first_rows import row_mistakes

Rows = list[dict[str, Any]]


def chat(answer: str, *, role: str = "assistant") -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "q"}, {"role": role, "content": answer}],
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recipe(rows: Rows, type_: str = "chat_template", **keys: Any) -> dict[str, Any]:
    """Two tasks; the rows are those of the first."""
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("b.jsonl").write_text((json.dumps(chat("fine")) + "\n") * 3)
    return {
        "datasets": [
            {"path": "a.jsonl", "task": "a", "type": type_, **keys},
            {"path": "b.jsonl", "task": "b", "type": "chat_template"},
        ],
        "adapt": {"token_budget": "5%"},
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }


@pytest.mark.parametrize(
    ("rows", "type_", "keys"),
    [
        ([chat("x"), chat("")], "chat_template", {}),
        ([{"talk": chat("x")["messages"]}] * 2, "chat_template", {"field_messages": "talk"}),
        (
            [{"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}] * 2,
            "chat_template",
            {"message_property_mappings": {"role": "from", "content": "value"}},
        ),
        ([{"instruction": "q", "output": "a"}] * 2, "alpaca", {}),
        ([{"story": "once"}] * 2, "completion", {"field": "story"}),
        ([{"anything": 1}] * 2, "sharegpt_like_type", {}),  # its needs are not known
    ],
)
def test_rows_that_fit_are_not_spoken_of(rows: Rows, type_: str, keys: dict[str, Any]) -> None:
    assert row_mistakes(recipe(rows, type_, **keys)) == []


@pytest.mark.parametrize(
    ("rows", "type_", "keys", "says"),
    [
        (
            [{"talk": []}] * 2,
            "chat_template",
            {},
            "datasets[0] (a.jsonl) of task 'a': type: chat_template reads the column messages, and "
            "the rows have only talk; name the one with the messages under field_messages:",
        ),
        ([{"instruction": "q"}] * 2, "alpaca", {}, "reads the column output"),
        ([{"story": "x"}] * 2, "completion", {}, "name the one with the text under field:"),
        ([chat(""), chat("  ")], "chat_template", {}, "every answer in its first 2 rows is empty"),
        ([{"instruction": "q", "output": ""}] * 2, "alpaca", {}, "every answer"),
        ([chat("x", role="user")] * 2, "chat_template", {}, "has no answers, its roles are user"),
        ([chat("x")], "chat_template", {}, "task 'a': has one row, and no test_datasets"),
    ],
)
def test_what_training_would_refuse_is_told(
    rows: Rows, type_: str, keys: dict[str, Any], says: str
) -> None:
    (found,) = row_mistakes(recipe(rows, type_, **keys))
    assert says in found


def test_a_file_that_cannot_be_read_is_named_with_its_line() -> None:
    raw = recipe([chat("x")] * 3)
    Path("a.jsonl").write_text(json.dumps(chat("x")) + "\n{\n")
    (found,) = row_mistakes(raw)
    assert found.startswith(
        "datasets[0] (a.jsonl) of task 'a': its rows cannot be read: a.jsonl, l"
    )
    assert "line 2: is not JSON" in found


def test_other_kinds_of_files_are_looked_at_too() -> None:
    raw = recipe([chat("x")] * 3)
    pyarrow.parquet.write_table(pyarrow.table({"q": ["x", "y"]}), "a.parquet")
    Path("c.csv").write_text("instruction,output\nq,\nr,\n")
    raw["datasets"] += [
        {"path": "a.parquet", "task": "p", "type": "completion"},
        {"path": "csv", "data_files": ["c.csv"], "task": "c", "type": "alpaca"},
    ]
    found = row_mistakes(raw)
    assert len(found) == 2
    assert "datasets[2] (a.parquet) of task 'p': type: completion reads the column text" in found[0]
    assert "datasets[3] (csv) of task 'c': every answer in its first 2 rows is empty" in found[1]


def test_one_row_is_enough_where_the_task_has_more_elsewhere() -> None:
    raw = recipe([chat("x")])
    more = {**raw, "datasets": [*raw["datasets"], {"path": "org/hub", "task": "a", "type": "x"}]}
    assert row_mistakes(more) == []
    validated = {**raw, "test_datasets": [{"path": "b.jsonl", "task": "a", "type": "x"}]}
    assert row_mistakes(validated) == []


@pytest.mark.parametrize(
    ("budget", "packed", "refused"),
    [(7, False, True), (8, False, False), (7, True, False), (1, True, True), ("1%", False, False)],
)
def test_a_budget_below_one_step_is_told(budget: object, packed: bool, refused: bool) -> None:
    raw = recipe([chat("x")] * 3)
    raw |= {"adapt": {"token_budget": budget}, "sample_packing": packed}
    found = row_mistakes(raw)
    assert ["fewer than one optimizer step" in one for one in found] == [True] * refused


def test_shipped_recipes_raise_no_false_alarm(repository: Path, tiny: Path) -> None:
    link = Path("data")
    link.mkdir()
    (link / "tiny").symlink_to(tiny)
    for file in sorted((repository / "recipes").glob("*.yml")):
        assert row_mistakes(yaml.safe_load(file.read_text(encoding="utf-8"))) == []
