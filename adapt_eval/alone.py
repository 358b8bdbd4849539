"""One run at a time writes into a folder: two would mix their answers and results."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within it, no other run writes into the folder, which is made where it is missing. The kernel
    ends this with the process, however that ends, and nothing is left behind.

    Not every network file system can do this; there two runs are not kept apart.

    Raises:
        ValueError: another run is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ValueError(
            f"{folder}: another adapt-eval run is writing there; wait for it, or give another "
            "--output"
        ) from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)
