"""Lower the limits and bolt the door, before anything that is not ours runs.

These three files are handed to an interpreter as one text (`python -c`), so that the sandbox needs
to see neither this package nor its folder: this one, `wire.py`, and `candidate.py` or `judge.py`.
They import nothing but the standard library.
"""

import importlib
import os
import resource
import sys
from typing import Any

_STARTS = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
)
_REACHES_OUT = (
    "ctypes.",
    "socket.",
    "os.kill",
    "os.killpg",
    "resource.prlimit",
    "signal.pthread_kill",
    "syslog.",
)
# These reach out too, and tell no hook of it.
_SILENT = (
    ("os", "mknod"),
    ("os", "mkfifo"),
    ("os", "pidfd_open"),
    ("signal", "pidfd_send_signal"),
    ("_posixsubprocess", "fork_exec"),
)
_CHANGES_FILES = (
    "os.chflags",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.lockf",
    "os.mkdir",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def limit(limits: dict[str, Any]) -> None:
    """Lower the limits for this process and for all that it starts."""
    bounds = {
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_DATA: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_CORE: 0,
    }
    for which, bound in bounds.items():
        _, hard = resource.getrlimit(which)
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(which, (value, value))


def become(user: int) -> None:
    """Give up root for good: user and group of the number, no other groups."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def bolt(room: str) -> None:
    """Refuse what a program has no business with. An audit hook cannot be taken off again.

    Args:
        room: the only directory where it may write.
    """
    room = os.path.realpath(room)

    def within(path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # an open descriptor was judged when it was opened
        full = os.path.realpath(os.fsdecode(path))
        return full == os.devnull or full == room or full.startswith(room + os.sep)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & _WRITING
            if writes and not within(path):
                raise PermissionError(f"sandbox: may not write {path!r}")
            # Other calls could name files relative to it, which no event tells of.
            if not within(path) and os.path.isdir(path):
                raise PermissionError(f"sandbox: may not hold {path!r} open")
        elif event == "sqlite3.connect" and arguments[0] != ":memory:":
            if not within(arguments[0]):
                raise PermissionError(f"sandbox: may not write {arguments[0]!r}")
        elif event in _STARTS:
            raise PermissionError(f"sandbox: may not start a process ({event})")
        elif event.startswith(_REACHES_OUT) and event != "socket.gethostname":
            raise PermissionError(f"sandbox: may not {event}")
        elif event in _CHANGES_FILES and not all(
            within(one) for one in arguments if isinstance(one, str | bytes | os.PathLike)
        ):
            raise PermissionError(f"sandbox: may not {event} outside of its directory")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("sandbox: may not do that")

    for module, name in _SILENT:
        loaded = importlib.import_module(module)
        if hasattr(loaded, name):
            setattr(loaded, name, refuse)
    sys.addaudithook(hook)
