"""Cells as processes: order, two at a time, what is done already, failures, a stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import study_queue
from study_grid import Cell, before, in_order, rates
from study_queue import Queue, Watch

CHOSEN = rates({})


class Run:
    """A process that ends at its second poll, and leaves its folder unless it fails."""

    def __init__(self, place: Path, code: int) -> None:
        self._place, self._code, self._polls = place, code, 0
        self.stopped = False

    def poll(self) -> int | None:
        self._polls += 1
        if self._polls < 2:
            return None
        if self._code == 0:
            self._place.mkdir(parents=True, exist_ok=True)
        return self._code

    def terminate(self) -> None:
        self.stopped = True

    def wait(self, timeout: float | None = None) -> int:
        return -15


class Study:
    """A queue that starts no process, and what it did.

    Attributes:
        started, ended, failed: cells, in order.
        runs: what was started.
        most: runs in progress at a time.
    """

    def __init__(self, out: Path, fails: Callable[[Cell], bool] = lambda cell: False) -> None:
        self.out, self.fails = out, fails
        self.started: list[Cell] = []
        self.ended: list[Cell] = []
        self.failed: list[Cell] = []
        self.runs: list[Run] = []
        self.most = 0
        watch = Watch(
            self.started.append,
            lambda cell, seconds: self.ended.append(cell),
            self.failed.append,
            self._waiting,
        )
        self.queue = Queue(out, lambda cell: before(cell, CHOSEN), self._start, watch)

    def _start(self, cell: Cell) -> Run:
        self.runs.append(Run(self.out / cell.name, int(self.fails(cell))))
        return self.runs[-1]

    def _waiting(self, waiting: Sequence[Cell], running: Sequence[Cell]) -> None:
        self.most = max(self.most, len(running))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_queue, "POLL", 0.0)


@pytest.fixture
def cells() -> list[Cell]:
    wanted = [Cell("natural", arm, 0.05, 3e-3, 1) for arm in ("doremi", "replay_average", "odm")]
    return in_order(wanted, CHOSEN)


def test_all_are_trained_two_at_a_time_behind_what_they_need(
    tmp_path: Path, cells: list[Cell]
) -> None:
    study = Study(tmp_path)
    study.queue.run(cells)
    assert set(study.ended) == set(cells)
    assert study.most == 2
    for cell in cells:
        needed = before(cell, CHOSEN)
        if needed is not None:
            assert study.ended.index(needed) < study.ended.index(cell)


def test_what_is_done_is_not_done_again(tmp_path: Path, cells: list[Cell]) -> None:
    (tmp_path / cells[0].name).mkdir(parents=True)
    study = Study(tmp_path)
    study.queue.run(cells)
    assert set(study.started) == set(cells[1:])


def test_a_failure_costs_the_runs_that_need_it_and_no_others(
    tmp_path: Path, cells: list[Cell]
) -> None:
    study = Study(tmp_path, lambda cell: cell.arm == "doremi_proxy")
    study.queue.run(cells)
    assert {cell.arm for cell in study.failed} == {"doremi_proxy", "doremi"}
    assert {cell.arm for cell in study.ended} == {"uniform", "learned", "replay_average", "odm"}
    assert study.queue.failed == study.failed


def test_a_stop_ends_the_runs_in_progress_which_leave_nothing(
    tmp_path: Path, cells: list[Cell]
) -> None:
    study = Study(tmp_path)

    def stop(waiting: Sequence[Cell], running: Sequence[Cell]) -> None:
        raise KeyboardInterrupt

    study.queue.watch.waiting = stop
    with pytest.raises(KeyboardInterrupt):
        study.queue.run(cells)
    assert [run.stopped for run in study.runs] == [True, True]
    again = Study(tmp_path)
    again.queue.run(cells)
    assert set(again.ended) == set(cells)
