"""Run programs in the sandbox and say which passed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from adapt_eval.sandbox.limits import Limits

_NOBODY = 65534
_NOBODY_USER: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
_DEFAULT = Limits()
_LONGEST_REPORT = 64 << 10


@dataclass(frozen=True)
class Program:
    """A program and what it is judged by.

    Attributes:
        text: of the program.
        checks: run in another process, with what the program defines; they pass if they raise
            nothing. Without any, a program passes that ends without an exception.
        given: what checks may use of the program's beginning, but was not written by the model.
        entry: the name in `given` that the program defines anew.
    """

    text: str
    checks: str = ""
    given: str = ""
    entry: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a program: whether it ran to its end without an exception, else why not."""

    passed: bool
    error: str = ""


class Sandbox:
    """Runs one program after the other, or several at a time.

    Args:
        limits: what each program may use.
        bubblewrap: whether to use `bwrap`; by default where it works.
        hook: whether the audit hook is on. Off only to test what bubblewrap holds by itself.

    Raises:
        ValueError: bubblewrap is asked for and does not work here.
    """

    def __init__(
        self, limits: Limits = _DEFAULT, bubblewrap: bool | None = None, hook: bool = True
    ) -> None:
        works = bubblewrap_works() if bubblewrap is not False else False
        if bubblewrap and not works:
            raise ValueError(
                "bubblewrap does not work here: install `bwrap`, and allow user namespaces, or "
                "run without it"
            )
        self.limits, self.bubblewrap, self.hook = limits, works, hook

    @property
    def name(self) -> str:
        """How programs are held: goes into the manifest."""
        return "bubblewrap" if self.bubblewrap else "none: process limits and audit hook only"

    def run(self, program: str | Program) -> Outcome:
        """Run one program. Whatever it does, this returns within the wall-clock limit and a bit."""
        order = program if isinstance(program, Program) else Program(program)
        with contextlib.ExitStack() as stack:
            rooms = [stack.enter_context(_room()) for _ in range(2)]
            # A file, not a pipe: the limit on file sizes then holds for the report too.
            report = stack.enter_context(tempfile.TemporaryFile())
            stdin = stack.enter_context(tempfile.TemporaryFile())
            with contextlib.ExitStack() as pipes:
                # Only the two processes keep their ends: each then sees when the other is gone.
                hear, send = _pipe(pipes)
                receive, say = _pipe(pipes)
                content = {**asdict(order), **self._terms(), "send": send, "receive": receive}
                content["program"] = content.pop("text")
                stdin.write(json.dumps(content).encode())
                stdin.seek(0)
                self._start(stack, "candidate", rooms[0], stdin=hear, stdout=say)
                judge = self._start(
                    stack, "judge", rooms[1], stdin=stdin, stdout=report, pass_fds=(send, receive)
                )
            try:
                judge.wait(timeout=self.limits.seconds)
            except subprocess.TimeoutExpired:
                return Outcome(False, f"took more than {self.limits.seconds:g} s")
            report.seek(0)
            said = report.read(_LONGEST_REPORT)
        return _read_report(said)

    def run_all(
        self, programs: Iterable[str | Program], at_once: int | None = None
    ) -> list[Outcome]:
        """Run programs, `at_once` at a time (half of the processors by default), in order."""
        workers = at_once or max(1, (os.cpu_count() or 2) // 2)
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self.run, programs))

    def _terms(self) -> dict[str, Any]:
        return {
            "limits": asdict(self.limits),
            "hook": self.hook,
            "become": _NOBODY if self.bubblewrap and os.geteuid() == 0 else None,
        }

    def _start(
        self, stack: contextlib.ExitStack, role: str, room: str, **channels: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends, with all of its group, when the stack is left."""
        options = ["-I", "-S", "-B", "-c", _text(role)]
        lowered: dict[str, Any] = {}
        if self.bubblewrap:
            command = [*_bubblewrap_command(room, self.limits), *options]
        else:
            command = [sys.executable, *options]
            if os.geteuid() == 0 and _nobody_may_run():
                lowered = _NOBODY_USER
                os.chown(room, _NOBODY, _NOBODY)
        process = subprocess.Popen(
            command,
            stderr=subprocess.DEVNULL,
            cwd=room,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": room, "TMPDIR": room},
            start_new_session=True,
            **channels,
            **lowered,
        )
        stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """Also after a good end: it may have left something running in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Ends to read from and to write to, closed here when the stack is left."""
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return read, write


@contextlib.contextmanager
def _room() -> Iterator[str]:
    """An empty directory, removed whatever a program left in it."""
    room = tempfile.mkdtemp(prefix="adapt-eval-")
    try:
        yield room
    finally:
        # Not shutil.rmtree: directories nested deeply enough exhaust Python's stack.
        subprocess.run(["rm", "-rf", "--", room], stderr=subprocess.DEVNULL, check=False)


def _read_report(said: bytes) -> Outcome:
    try:
        report = json.loads(said)
        # A message may hold what no file can: half of a surrogate pair.
        error = str(report["error"]).encode("utf-8", "backslashreplace").decode()
        return Outcome(bool(report["passed"]), error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Outcome(False, "ended without a verdict (killed by a limit, or left early)")


def _bubblewrap_command(room: str, limits: Limits) -> list[str]:
    """Everything up to and with the interpreter.

    An ordinary user gets a user namespace. Root does not, for root escapes the limit on processes
    even in one: it keeps the right to become nobody, which `confine.py` uses, and finds the
    interpreter under /mnt, because nobody may not be allowed into the folder where it lies.
    """
    isolation = ["bwrap", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    interpreter = sys.executable
    moved: list[str] = []
    if os.geteuid() == 0:
        kept = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        isolation += [*kept, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        relative = Path(os.path.realpath(sys.executable)).relative_to(sys.base_prefix)
        interpreter = f"/mnt/python/{relative}"
        moved = ["--tmpfs", "/mnt", "--ro-bind", sys.base_prefix, "/mnt/python"]
    else:
        isolation += ["--unshare-all"]
    return [
        *isolation,
        *("--ro-bind", "/", "/", "--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc"),
        *moved,
        *("--perms", "0777", "--size", str(limits.disk_bytes), "--tmpfs", room),
        *("--chdir", room, "--", interpreter),
    ]


@functools.cache
def _nobody_may_run() -> bool:
    command = [sys.executable, "-I", "-S", "-c", "import json"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, **_NOBODY_USER)
    except PermissionError:
        return False
    return done.returncode == 0


@functools.cache
def bubblewrap_works() -> bool:
    """Whether `bwrap` is installed and the kernel lets it make its namespaces."""
    if shutil.which("bwrap") is None or not Path(sys.executable).exists():
        return False
    if os.geteuid() == 0 and not Path(os.path.realpath(sys.executable)).is_relative_to(
        sys.base_prefix
    ):
        return False
    with tempfile.TemporaryDirectory(prefix="adapt-eval-") as room:
        command = [*_bubblewrap_command(room, Limits()), "-I", "-S", "-c", "import json"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def _text(role: str) -> str:
    """The whole text that an interpreter gets for a role, without imports of this package."""
    folder = files("adapt_eval.sandbox")
    parts = [
        folder.joinpath(f"{name}.py").read_text(encoding="utf-8")
        for name in ("confine", "wire", role)
    ]
    lines = "\n".join(parts).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("from adapt_eval."))
