"""The embedded default is the same everywhere and is what its table says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from adapt_axolotl.tiny import write_tiny
from adapt_axolotl.tiny.tasks import TASKS


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).parts[0] in ("model", "data")
    }


def rows(tiny: Path, task: str, split: str) -> list[tuple[str, str]]:
    lines = (tiny / "data" / task / f"{split}.jsonl").read_text().splitlines()
    messages = [json.loads(line)["messages"] for line in lines]
    return [(user["content"], assistant["content"]) for user, assistant in messages]


def test_two_calls_write_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    assert digests(tmp_path) == digests(tiny)
    assert len(digests(tmp_path)) > 2 * len(TASKS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_sizes_are_as_stated_and_no_prompt_is_shared(tiny: Path, task) -> None:
    train, validation = rows(tiny, task.name, "train"), rows(tiny, task.name, "validation")
    assert len(train) == task.rows
    assert len(validation) == 60
    assert not {prompt for prompt, _ in train} & {prompt for prompt, _ in validation}
    assert len({prompt for prompt, _ in train}) == len(train)


def test_answers_are_right(tiny: Path) -> None:
    for prompt, answer in rows(tiny, "modular", "train")[:50]:
        first, _, second, _, modulus = prompt.split()
        assert answer == str((int(first) + int(second)) % int(modulus))
    for prompt, answer in rows(tiny, "sort", "validation"):
        assert answer == "".join(sorted(prompt.split()[1]))
    facts = {}
    for split in ("train", "validation"):
        for prompt, answer in rows(tiny, "capital", split):
            noise = {"capital", "of", "name", "the", "has", "which", "please", "now"}
            (country,) = set(prompt.split()) - noise
            assert facts.setdefault(country, answer) == answer


@pytest.mark.parametrize("text", ["plain words 123", "Größe — naïve 日本語 🙂\n\ttabs"])
def test_the_tokenizer_reads_any_text_without_loss(tiny: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny / "model"))
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer) == 512
