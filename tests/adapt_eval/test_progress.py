"""A long run tells how much time is left, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adapt_eval.progress import Reporter


def test_a_log_gets_a_line_now_and_then_with_the_time_left() -> None:
    now = [0.0]
    file = io.StringIO()
    with Reporter(Console(file=file), lambda: now[0]) as reporter:
        reporter.start(1, 0)
        reporter.begin("arc")
        for done in range(0, 1001, 10):
            now[0] = done * 0.2  # 200 s in all
            reporter.items(done, 1000)
        reporter.end("arc", 0.5)
    lines = file.getvalue().splitlines()
    assert lines[0] == "measuring arc"
    assert lines[1] == "arc: 150 of 1,000, about 3 min left"
    assert lines[-2] == "arc: 900 of 1,000, about 20 s left"
    assert lines[-1] == "arc: 0.5000"
    assert len(lines) == 8  # a line in 30 seconds


@pytest.mark.parametrize(
    ("seconds", "says"), [(30, "about 30 s"), (600, "about 10 min"), (9000, "about 2.5 h")]
)
def test_the_time_left_is_in_a_readable_unit(seconds: float, says: str) -> None:
    now = [0.0]
    file = io.StringIO()
    reporter = Reporter(Console(file=file), lambda: now[0])
    reporter.begin("arc")
    reporter.items(0, 2)
    now[0] = seconds
    reporter.items(1, 2)
    assert says in file.getvalue()


def test_making_prompts_and_an_earlier_kind_of_requests_do_not_count_as_answering() -> None:
    now = [0.0]
    file = io.StringIO()
    reporter = Reporter(Console(file=file), lambda: now[0])
    reporter.begin("bbh")
    now[0] = 600.0  # prompts are made
    reporter.items(8, 1000)
    now[0] = 640.0
    reporter.items(108, 1000)
    now[0] = 700.0
    reporter.items(1000, 1000)
    now[0] = 1000.0  # the second kind of requests
    reporter.items(1, 101)
    now[0] = 1050.0
    reporter.items(51, 101)
    lines = file.getvalue().splitlines()
    assert lines[1] == "bbh: 108 of 1,000, about 6 min left"
    assert lines[-1] == "bbh: 51 of 101, about 50 s left"


def test_a_terminal_shows_bars_and_the_time_left() -> None:
    file = io.StringIO()
    with Reporter(Console(file=file, force_terminal=True, width=120)) as reporter:
        reporter.start(2, 0)
        reporter.begin("arc")
        reporter.items(5, 10)
    assert "left" in file.getvalue()
    assert "5/10" in file.getvalue()
