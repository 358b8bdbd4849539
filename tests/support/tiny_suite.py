"""A run of the tiny suite, seen by a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt_eval.options import Options


class Quiet:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.requests: list[tuple[int, int]] = []

    def say(self, text: str) -> None:
        pass

    def start(self, benchmarks: int, done: int) -> None:
        pass

    def begin(self, task: str) -> None:
        self.measured.append(task)

    def items(self, done: int, total: int) -> None:
        self.requests.append((done, total))

    def end(self, task: str, score: float) -> None:
        pass


def options(run: Path, **changes: Any) -> Options:
    defaults: dict[str, Any] = {"suite": "tiny", "allow_code_execution": True, "unsafe": True}
    return Options(run=str(run), **{**defaults, **changes})
