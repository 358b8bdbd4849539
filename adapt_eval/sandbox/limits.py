"""What one program may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one program.

    Attributes:
        seconds: wall-clock time, the start of the interpreter included.
        cpu_seconds: processor time. The official scorers give 3 s of wall-clock time; processor
            time does not depend on what else the machine does.
        memory_bytes: address space.
        file_bytes: size of any one file that it writes.
        disk_bytes: size of its working directory (with bubblewrap).
        processes: how many it may have at once (with bubblewrap).
        open_files: file descriptors.
    """

    seconds: float = 10.0
    cpu_seconds: int = 3
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20
    disk_bytes: int = 64 << 20
    processes: int = 32
    open_files: int = 64
