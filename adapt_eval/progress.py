"""What a long run shows on stderr: bars with the time left; without a terminal, lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from adapt_eval.interrupt import Interrupt

# Between two lines of a log about one benchmark.
LOG_EVERY = 30.0


class Reporter:
    """Talks to stderr. Use as a context manager; without a terminal it prints plain lines.

    Args:
        console: where it talks; stderr by default.
        clock: seconds, never going back.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._interrupt, self._watching = Interrupt(), contextlib.ExitStack()
        self._task = ""
        self._logged = 0.0
        # Time and number of requests from which the speed is counted, and the last number.
        self._since: tuple[float, int] | None = None
        self._done = 0
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._suite = self._bars.add_task("benchmarks", visible=False)
        self._items = self._bars.add_task("items", visible=False)

    def __enter__(self) -> Reporter:
        self._watching.enter_context(self._interrupt.watched())
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()
        self._watching.close()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def start(self, benchmarks: int, done: int) -> None:
        """The run begins, or continues after `done` benchmarks."""
        if done:
            self.say(f"{done} of {benchmarks} benchmarks were measured before")
        self._bars.update(self._suite, total=benchmarks, completed=done, visible=True)

    def begin(self, task: str) -> None:
        """A benchmark begins."""
        self._interrupt.check()
        self._task = task
        self._logged = self._clock()
        self._since = None
        if not self.console.is_terminal:
            self.say(f"measuring {task}")
        self._bars.reset(self._items, description=task, total=0, visible=True)

    def items(self, done: int, total: int) -> None:
        """Requests of the benchmark that were answered."""
        self._interrupt.check()
        self._bars.update(self._items, completed=done, total=total)
        now = self._clock()
        # The speed is that of answers: prompts are made before the first, and a benchmark with
        # two kinds of requests begins to count again.
        if self._since is None or done < self._done:
            self._since = (now, done)
        self._done = done
        begun, before = self._since
        if self.console.is_terminal or done == before or now - self._logged < LOG_EVERY:
            return
        self._logged = now
        left = (now - begun) / (done - before) * (total - done)
        self.say(f"{self._task}: {done:,} of {total:,}, about {_duration(left)} left")

    def end(self, task: str, score: float) -> None:
        """A benchmark is written."""
        self._bars.advance(self._suite)
        self.say(f"{task}: {score:.4f}")
        self._interrupt.check()


def _duration(seconds: float) -> str:
    """In the unit that a reader would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
