"""Cells of the study as processes: so many at a time, each after the one that it needs.

What is done is what has a folder, which a run takes at its very end; so a study that was stopped,
or killed, goes on with the cells that were in progress.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from study_grid import Cell

POLL = 0.5  # seconds


class Process(Protocol):
    """What the queue asks of a run in progress; `subprocess.Popen` does."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


@dataclass
class Watch:
    """Who is told of what happens; `study_progress.py` shows it."""

    started: Callable[[Cell], None]
    ended: Callable[[Cell, float], None]
    failed: Callable[[Cell], None]
    waiting: Callable[[Sequence[Cell], Sequence[Cell]], None]


@dataclass
class Queue:
    """
    Attributes:
        out: folder of the study.
        before: the cell that another one needs, or None.
        start: starts a cell as a process of its own.
        watch: is told.
        workers: processes at a time.
        failed: cells whose process failed, and those that needed them.
    """

    out: Path
    before: Callable[[Cell], Cell | None]
    start: Callable[[Cell], Process]
    watch: Watch
    workers: int = 2
    failed: list[Cell] = field(default_factory=list)

    def done(self, cell: Cell) -> bool:
        """Whether its folder is there."""
        return (self.out / cell.name).is_dir()

    def run(self, cells: Sequence[Cell]) -> None:
        """Train those that are not done; returns when nothing more can be.

        Args:
            cells: each behind the one that it needs.
        """
        waiting = [cell for cell in cells if not self.done(cell)]
        running: dict[Cell, tuple[Process, float]] = {}
        try:
            while waiting or running:
                self._collect(running)
                self._give_up(waiting)
                for cell in [one for one in waiting if self._ready(one)]:
                    if len(running) == self.workers:
                        break
                    waiting.remove(cell)
                    running[cell] = (self.start(cell), time.monotonic())
                    self.watch.started(cell)
                self.watch.waiting(waiting, list(running))
                if running:
                    time.sleep(POLL)
        finally:
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.wait()

    def _ready(self, cell: Cell) -> bool:
        needed = self.before(cell)
        return needed is None or self.done(needed)

    def _collect(self, running: dict[Cell, tuple[Process, float]]) -> None:
        for cell, (process, begun) in list(running.items()):
            if process.poll() is None:
                continue
            del running[cell]
            if process.poll() == 0 and self.done(cell):
                self.watch.ended(cell, time.monotonic() - begun)
            else:
                self.failed.append(cell)
                self.watch.failed(cell)

    def _give_up(self, waiting: list[Cell]) -> None:
        """On cells that need one that failed."""
        for cell in list(waiting):
            if self.before(cell) in self.failed:
                waiting.remove(cell)
                self.failed.append(cell)
                self.watch.failed(cell)


def started(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A process of one thread whose output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
