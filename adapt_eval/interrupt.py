"""An interrupt that no library can swallow.

Some libraries catch everything while they are imported. A Ctrl-C that comes just then is lost, and
the run goes on as if nobody had pressed it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Remembers whether the user asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it an interrupt (SIGINT) is remembered, and raised as ever. Only the main thread
        can watch; in another one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(number: int, frame: FrameType | None) -> None:
            self._asked = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Raise KeyboardInterrupt (again) if the user asked to stop."""
        if self._asked:
            raise KeyboardInterrupt
