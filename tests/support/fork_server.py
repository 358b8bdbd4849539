"""Start `axolotl train` without waiting for its imports each time.

A run in a test trains for a few seconds, after ten seconds of importing torch, transformers, TRL
and Axolotl. The server is a process that has imported them and nothing else. For each run it forks
a child, which goes on as the command `axolotl` would: with its own arguments, folder, environment
and output, in a session of its own. The server itself never trains, so that each child begins as
clean as the first.

What differs from a process of its own: what a library reads from the environment while it is
imported was read when the server started, and so was the seed of Python's hashes; what the imports
print is not in the output; no interpreter is torn down. Forked after CUDA was looked for, a process
cannot use it.

This file is both ends: tests use `server`; the server is the file run as a script.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# What every run imports, in its order. A module that only some runs import is not here: importing
# it may change a library.
IMPORTS = (
    "axolotl.cli.main",
    "axolotl.cli.train",
    "axolotl.cli.config",
    "axolotl.cli.checks",
    "adapt_axolotl.integration.plugin",
    "axolotl.common.datasets",
    "axolotl.train",
    "adapt_axolotl.integration.build",
    "axolotl.core.builders",
    "adapt_axolotl.trainer",
    "adapt_axolotl.records.page",
    "adapt_axolotl.records.plot",
    "deepspeed",
)

# What the environment had before the imports.
GIVEN = set(os.environ)

# Messages keep their bounds on such a socket; a request is the longest, for its environment.
SOCKET = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
LONGEST = 1 << 17


class Run:
    """A run that the server has forked, with those parts of `subprocess.Popen` that tests use."""

    def __init__(self, server: Server, pid: int, output: int) -> None:
        self.pid = pid
        # As Popen with text=True: a progress bar's returns end lines too.
        self.stdout: IO[str] = os.fdopen(output, encoding="utf-8", errors="replace")
        self._server = server

    def wait(self) -> int:
        """The exit code, as Popen has it: that of a signal is negative."""
        self.stdout.close()
        return self._server.exit_code(self.pid)


class Server:
    """The test process's end. The server ends, and its children with it, when this closes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._connection, theirs = socket.socketpair(*SOCKET)
        self._codes: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                # -P: this folder does not go on the path, as it does not for `axolotl`.
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        self._connection.close()
        self._process.wait()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Run:
        request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(environment)}
        output, childs_end = os.pipe()
        socket.send_fds(self._connection, [json.dumps(request).encode()], [childs_end])
        os.close(childs_end)
        while (answer := self._answer())["code"] is not None:
            pass
        return Run(self, answer["pid"], output)

    def exit_code(self, pid: int) -> int:
        while pid not in self._codes:
            self._answer()
        return self._codes[pid]

    def _answer(self) -> dict[str, Any]:
        """The server tells that a child has begun, without a code, or ended, with it."""
        message = self._connection.recv(LONGEST)
        assert message, "the server of tests/support/fork_server.py has died"
        answer: dict[str, Any] = json.loads(message)
        if answer["code"] is not None:
            self._codes[answer["pid"]] = answer["code"]
        return answer


@functools.cache
def server(variables: frozenset[tuple[str, str]] = frozenset()) -> Server:
    """One for each test process, from the first run on; and another for each set of variables that
    a test adds to the environment, because an import may read them."""
    every = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    return Server(os.environ | every | dict(variables))


def serve(connection: socket.socket) -> None:
    """Fork a child for each request. Returns in the child alone, which is then ready to train."""
    children: dict[int, int] = {}  # of a file descriptor that is readable once the process ended
    while True:
        ready, _, _ = select.select([connection, *children], [], [])
        for ended in set(ready) & set(children):
            pid = children.pop(ended)
            os.close(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            connection.send(json.dumps({"pid": pid, "code": code}).encode())
        if connection not in ready:
            continue
        message, outputs, _, _ = socket.recv_fds(connection, LONGEST, 1)
        if not message:
            for pid in children.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            connection.close()
            for other in children:
                os.close(other)
            become(json.loads(message), outputs[0])
            return
        os.close(outputs[0])
        children[os.pidfd_open(pid)] = pid
        connection.send(json.dumps({"pid": pid, "code": None}).encode())


def become(request: dict[str, Any], output: int) -> None:
    """Make this process that which a shell would have started."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.chdir(request["folder"])
    # Defaults that the imports put into the environment stay.
    for name in GIVEN - set(request["environment"]):
        del os.environ[name]
    os.environ.update(request["environment"])
    sys.argv = [str(Path(sys.executable).with_name("axolotl")), *request["arguments"]]


def train_and_end() -> None:
    """What the script `axolotl` does, and then the interpreter, which after so many imports would
    take as long as the run to free their memory."""
    code = 0
    try:
        importlib.import_module("axolotl.cli.main").main()
    except SystemExit as asked:
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
        code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # memory that no collection visits stays shared with the children
    serve(socket.socket(fileno=int(sys.argv[1])))
    train_and_end()
