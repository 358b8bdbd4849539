"""Ctrl-C stops a run even where a library swallows it."""

from __future__ import annotations

import contextlib
import io
import os
import signal

import pytest
from rich.console import Console

from adapt_eval.progress import Reporter


@pytest.mark.parametrize("moment", ["items", "end", "begin"])
def test_an_interrupt_that_was_swallowed_is_raised_at_the_next_moment(moment: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    moments = {
        "items": lambda reporter: reporter.items(1, 2),
        "end": lambda reporter: reporter.end("arc", 0.5),
        "begin": lambda reporter: reporter.begin("next"),
    }
    with Reporter(Console(file=io.StringIO())) as reporter:
        reporter.begin("arc")
        with contextlib.suppress(KeyboardInterrupt):  # as a library does that catches everything
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            moments[moment](reporter)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_an_interrupt_nothing_is_raised() -> None:
    with Reporter(Console(file=io.StringIO())) as reporter:
        reporter.begin("arc")
        reporter.items(1, 2)
        reporter.end("arc", 0.5)
