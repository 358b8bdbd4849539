"""What a long run shows on stderr: a bar over benchmarks and one over items."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Reporter:
    """Talks to stderr. Use as a context manager; without a terminal it prints plain lines."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._suite = self._bars.add_task("benchmarks", visible=False)
        self._items = self._bars.add_task("items", visible=False)

    def __enter__(self) -> Reporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def start(self, benchmarks: int, done: int) -> None:
        """The run begins, or goes on after `done` benchmarks."""
        if done:
            self.say(f"{done} of {benchmarks} benchmarks were measured before")
        self._bars.update(self._suite, total=benchmarks, completed=done, visible=True)

    def begin(self, task: str) -> None:
        """A benchmark begins."""
        if not self.console.is_terminal:
            self.say(f"measuring {task}")
        self._bars.reset(self._items, description=task, total=0, visible=True)

    def items(self, done: int, total: int) -> None:
        """Requests of the benchmark that were answered."""
        self._bars.update(self._items, completed=done, total=total)

    def end(self, task: str, score: float) -> None:
        """A benchmark is written."""
        self._bars.advance(self._suite)
        self.say(f"{task}: {score:.4f}")
