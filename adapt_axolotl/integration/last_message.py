"""A mistake's message once more, below the traceback of accelerate's launcher.

`axolotl train` becomes `accelerate launch`, which starts the training and, where that fails, ends
with a traceback of its own, below the sentence that helps. Nothing that the training process prints
can stand below it. So a small process waits until the launcher has ended, and then writes the
message again. It may be lost, where a container or a Slurm step ends all its processes with the
launcher; the first one stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Accelerate ends right after its child. Where it does not, nobody should find a process left over.
_SECONDS = 30
_WAITING = f"""
import os, select, sys
message = sys.stdin.buffer.read()
launcher = select.poll()
launcher.register(int(sys.argv[1]), select.POLLIN)
if launcher.poll({1000 * _SECONDS}):
    os.write(2, message)
"""


def repeat_below(launcher: int, message: str) -> bool:
    """Write a message to stderr once more when a process has ended.

    Args:
        launcher: its id.

    Returns:
        Whether that will be; not where this system cannot wait for a process that it did not start,
        or ends ours with that one.
    """
    if launcher == 1 or not hasattr(os, "pidfd_open"):
        return False
    try:
        ended = os.pidfd_open(launcher)
        waiting = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WAITING, str(ended)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[ended],
            # What is sent to the launcher's process group, such as Ctrl-C, is not for this one.
            start_new_session=True,
        )
        assert waiting.stdin is not None
        with waiting.stdin:
            waiting.stdin.write(f"\n{message}\n".encode(errors="backslashreplace"))
    except OSError:
        return False
    return True


def arguments_of_accelerate(process: int) -> list[str] | None:
    """The command line of a process that is accelerate's launcher, None of any other."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    # `python bin/accelerate launch ...` or `python -m accelerate.commands.launch ...`.
    starts = any(Path(word).name.startswith("accelerate") for word in words[1:3])
    return words if starts else None
