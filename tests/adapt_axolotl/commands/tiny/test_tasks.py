"""The made tasks are what their table says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapt_axolotl.commands.tiny import tasks as made
from adapt_axolotl.commands.tiny.tasks import TASKS, VALIDATION_ROWS, MadeTask

BY_NAME = {task.name: task for task in TASKS}


def answers(name: str) -> dict[str, str]:
    """Prompt -> answer, over training and validation."""
    train, validation = BY_NAME[name].draw()
    return dict(train + validation)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_sizes_are_as_stated_and_no_prompt_comes_twice(task: MadeTask) -> None:
    train, validation = task.draw()
    assert len(train) == task.rows
    assert len(validation) == VALIDATION_ROWS
    assert len(dict(train + validation)) == task.rows + VALIDATION_ROWS


def test_the_files_hold_the_rows_as_chats(tiny: Path) -> None:
    for task in TASKS:
        for split, rows in zip(("train", "validation"), task.draw(), strict=True):
            lines = (tiny / "data" / task.name / f"{split}.jsonl").read_text().splitlines()
            chats = [json.loads(line)["messages"] for line in lines]
            assert [[message["role"] for message in chat] for chat in chats] == [
                ["user", "assistant"]
            ] * len(rows)
            assert [tuple(message["content"] for message in chat) for chat in chats] == rows


def test_the_table_names_every_task_with_its_rows() -> None:
    assert made.__doc__ is not None
    lines = [line.split() for line in made.__doc__.splitlines() if line.startswith("    ")]
    stated = [line[:2] for line in lines[1:]]
    assert stated == [[task.name, str(task.rows)] for task in TASKS]


def test_every_answer_follows_from_its_prompt() -> None:
    assert set(answers("constant").values()) == {"hello"}
    for prompt, answer in answers("copy").items():
        assert prompt == f"copy {answer}"
    for prompt, answer in answers("reverse").items():
        assert prompt == f"reverse {answer[::-1]}"
    for prompt, answer in answers("sort").items():
        assert answer == "".join(sorted(prompt.split()[1]))
    for prompt, answer in answers("add").items():
        _, _, _, first, _, second = prompt.split()
        assert int(answer) == int(first) + int(second)
        assert len(answer) == 2
    for prompt, answer in answers("next").items():
        assert (ord(answer) - ord(prompt.split()[1])) % 26 == 1
    for prompt, answer in answers("yes_no").items():
        assert answer == ("no" if int(prompt.split()[1]) % 2 else "yes")


def test_validation_asks_only_for_facts_that_training_states() -> None:
    train, validation = BY_NAME["capital"].draw()
    stated = {prompt.split()[2]: answer for prompt, answer in train}
    assert len(stated) == 40
    for prompt, answer in validation:
        assert stated[prompt.split()[2]] == answer


def test_noise_answers_share_nothing() -> None:
    train, validation = BY_NAME["noise"].draw()
    assert len({answer for _, answer in train + validation}) == len(train + validation)
