"""Runs side by side, for a terminal of 80 columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from adapt_axolotl.commands.show import markdown_table, side_by_side
from adapt_axolotl.records.tables import run_table
from adapt_common.run_records import read_ledger
from tests.support.made_records import made_records


def shown(content: object) -> list[str]:
    """Lines as a terminal of 80 columns has them."""
    text = io.StringIO()
    Console(file=text, width=80).print(content)
    return text.getvalue().splitlines()


def renamed(run: Path, name: str) -> Path:
    """The run with another name for its task a."""
    file = run / "adapt" / "ledger.json"
    file.write_text(file.read_text().replace('"a": {', f"{json.dumps(name)}: {{"))
    return run


def test_one_run_needs_no_letter(tmp_path: Path) -> None:
    lines = shown(side_by_side([made_records(tmp_path / "only")]))
    used = read_ledger(tmp_path / "only")["used"]
    assert lines[0].startswith(f"only: {used:,} of 5,000 supervised tokens in ")
    assert not [line for line in lines if "A share" in line]
    assert [line.split() for line in lines if "mean over" in line] == [
        ["mean", "over", "tasks", "2.500", "100.0%", "1.500"]
    ]


def test_any_number_of_runs_with_long_names_keeps_every_digit(tmp_path: Path) -> None:
    name = "data/natural_instructions/question_answering/train.jsonl"
    runs = [
        renamed(made_records(tmp_path / f"adapt_llama_5pct_seed_{n}", seed=n), name)
        for n in range(5)
    ]
    lines = shown(side_by_side(runs))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    for letter, run in zip("ABCDE", runs, strict=True):
        assert f"{letter} {run.name}: " in text
        assert f"{letter} share" in text
    assert sum(line.split().count("1.000") for line in lines) == 5  # the last loss of task a


def test_a_name_in_brackets_is_a_name(tmp_path: Path) -> None:
    run = renamed(made_records(tmp_path / "run"), "[bold]x :smile:")
    assert "[bold]x :smile:" in "\n".join(shown(side_by_side([run])))
    assert "[bold]x :smile:" in "\n".join(shown(run_table(read_ledger(run), "run")))


def test_times_of_a_machine_are_not_compared(tmp_path: Path) -> None:
    runs = [made_records(tmp_path / name) for name in ("one", "two")]
    for text in (markdown_table(runs), "\n".join(shown(side_by_side(runs)))):
        assert "seconds" not in text
        assert "mean over tasks" in text
