"""What a study says while it runs: bars on a terminal, else a line for each cell."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from study_cost import Costs, said
from study_done import CELL
from study_grid import Cell
from study_queue import Watch

# A run prints it and the share that is done, a line a step.
PROGRESS = "progress "
LOG_BYTES = 4096


class Display:
    """Shows cells of one stage.

    Args:
        out: folder of the study.
        cells: of the stage.
        costs: what they take; told of each that ends.
        workers: at a time.
        console: where to.
    """

    def __init__(
        self, out: Path, cells: Sequence[Cell], costs: Costs, workers: int, console: Console
    ) -> None:
        self._out, self._costs, self._workers, self._console = out, costs, workers, console
        self._total, self._seconds = len(cells), 0.0
        self._left = sum(not (out / cell.name).is_dir() for cell in cells)
        self._bars: dict[Cell, TaskID] = {}
        self._begun: dict[Cell, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all cells", total=max(1, self._total), said="")

    def __enter__(self) -> Watch:
        self._progress.start()
        return Watch(self._started, self._ended, self._failed, self._waiting)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _started(self, cell: Cell) -> None:
        self._bars[cell] = self._progress.add_task(str(cell), total=1.0, said="")
        self._begun[cell] = time.monotonic()

    def _ended(self, cell: Cell, seconds: float) -> None:
        self._costs.measured[cell] = seconds
        self._remove(cell)
        known = json.loads((self._out / cell.name / CELL).read_text(encoding="utf-8"))
        losses = known["curve"]["losses"][-1]
        self._say(f"{cell}: validation loss {sum(losses) / len(losses):.3f}, {said(seconds)}")

    def _failed(self, cell: Cell) -> None:
        self._remove(cell)
        self._say(f"{cell}: FAILED, see {log_of(self._out, cell)}")

    def _remove(self, cell: Cell) -> None:
        self._left -= 1
        self._begun.pop(cell, None)
        bar = self._bars.pop(cell, None)
        if bar is not None:
            self._progress.remove_task(bar)

    def _waiting(self, waiting: Sequence[Cell], running: Sequence[Cell]) -> None:
        """Of the cells in progress, what their estimates leave."""
        parts = {cell: self._part(cell) for cell in running}
        rest = sum((1 - part) * self._costs.seconds(cell) for cell, part in parts.items())
        self._seconds = self._costs.left(waiting, self._workers) + rest / self._workers
        for cell, part in parts.items():
            gone = said(time.monotonic() - self._begun[cell])
            self._progress.update(self._bars[cell], completed=part, said=f"{part:.0%}, {gone}")
        self._progress.update(
            self._all,
            completed=self._total - self._left,
            said=f"{self._total - self._left} of {self._total}, about {said(self._seconds)} left",
        )

    def _part(self, cell: Cell) -> float:
        """How much of a run is done, from the last line of its log."""
        try:
            with log_of(self._out, cell).open("rb") as stream:
                stream.seek(0, 2)
                stream.seek(max(0, stream.tell() - LOG_BYTES))
                lines = stream.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return 0.0
        told = [line for line in lines[:-1] if line.startswith(PROGRESS)]
        return float(told[-1].removeprefix(PROGRESS)) if told else 0.0

    def _say(self, text: str) -> None:
        """A line that stays, with the estimate of the moment."""
        done = self._total - self._left
        left = f"; about {said(self._seconds)} left" if self._left else ""
        self._console.print(
            f"[{done}/{self._total}] {text}{left}", markup=False, highlight=False, soft_wrap=True
        )


def log_of(out: Path, cell: Cell) -> Path:
    """Where the output of a cell's process goes."""
    return out / "logs" / f"{cell.name.replace('/', ',')}.txt"
