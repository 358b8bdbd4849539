"""Filling a mirror, but for the network itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from adapt_eval import fetch, mirror
from adapt_eval.fetch import fetched, save
from adapt_eval.lm_harness.tasks import Tasks
from adapt_eval.suite import load_suite
from tests.adapt_eval.conftest import Command


def test_a_saved_dataset_is_read_as_the_hubs_would_be(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([{"question": "1 + 1", "answer": "2"}])
    save(tmp_path / "a" / "b", "a/b", {"main": {"train": rows, "test": rows}})
    save(tmp_path / "a" / "c", "a/c", {None: {"validation": rows}})
    main = datasets.load_dataset(str(tmp_path / "a" / "b"), "main")
    assert {name: len(split) for name, split in main.items()} == {"train": 1, "test": 1}
    assert datasets.load_dataset(str(tmp_path / "a" / "c"))["validation"][0]["answer"] == "2"


def test_what_is_fetched_is_what_the_tasks_ask_for() -> None:
    suite = load_suite("ood11").select(skip=["ifeval"])
    tasks = Tasks(suite.benchmarks, [])
    sources = [tasks.sources(one) for one in suite.benchmarks]
    names = {path for one in sources for path in one}
    assert {"openai/gsm8k", "EleutherAI/race", "Rowan/hellaswag"} <= names
    (bbh,) = [one["SaylorTwift/bbh"] for one in sources if "SaylorTwift/bbh" in one]
    assert len(bbh) == 27


def test_without_a_network_it_says_so_and_fails_with_1(tmp_path: Path, command: Command) -> None:
    done = command("fetch", tmp_path / "mirror")
    assert done.returncode == 1
    assert "the environment forbids the Hub" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_configuration_that_another_suite_needs_is_fetched_beside_those_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = datasets.Dataset.from_list([{"question": "1 + 1", "answer": "2"}])
    asked: list[str | None] = []

    def load(hub_path: str, name: str | None) -> Any:
        asked.append(name)
        return {"test": rows}

    monkeypatch.setattr(fetch, "_load", load)
    monkeypatch.setattr(mirror, "offline", lambda: False)
    suite = load_suite("ood11").select(only=["gsm8k"])
    save(tmp_path / "openai" / "gsm8k", "openai/gsm8k", {"socratic": {"test": rows}})
    assert fetched(tmp_path / "openai" / "gsm8k") == {"socratic"}
    fetch.fill(tmp_path, suite, Silent())  # type: ignore[arg-type]
    assert sorted(str(name) for name in asked) == ["main", "socratic"]
    assert fetched(tmp_path / "openai" / "gsm8k") == {"main", "socratic"}
    asked.clear()
    fetch.fill(tmp_path, suite, Silent())  # type: ignore[arg-type]
    assert asked == []


class Silent:
    """A reporter."""

    def say(self, text: str) -> None:
        pass
