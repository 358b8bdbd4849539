"""Whatever a program does costs that program, and nothing else.

Each case runs three times: with bubblewrap alone (the kernel holds it), with bubblewrap and the
audit hook, and with the hook alone. Those with bubblewrap are skipped where it does not work.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt_eval.sandbox import Limits, Outcome, Sandbox
from adapt_eval.sandbox.run import bubblewrap_works

LIMITS = Limits(seconds=3, cpu_seconds=1)


@pytest.fixture(params=["bubblewrap", "bubblewrap and hook", "hook"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    name = str(request.param)
    if "bubblewrap" in name and not bubblewrap_works():
        pytest.skip("bubblewrap is not installed or may not make namespaces here")
    return Sandbox(LIMITS, bubblewrap="bubblewrap" in name, hook="hook" in name)


def assert_fails(sandbox: Sandbox, program: str) -> Outcome:
    started = time.monotonic()
    outcome = sandbox.run(program)
    assert not outcome.passed
    assert outcome.error
    assert time.monotonic() - started < LIMITS.seconds + 5
    assert sandbox.run("assert 1 + 1 == 2").passed  # the next one is none the worse
    return outcome


def test_a_program_that_ends_without_an_exception_passes(sandbox: Sandbox) -> None:
    assert sandbox.run("import math\nopen('note', 'w').write('x')\nassert math.pi > 3").passed
    assert sandbox.run("print('x' * 10**7)").passed


@pytest.mark.parametrize(
    "program",
    [
        "assert False",
        "x = (",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise KeyboardInterrupt",
        'print(\'{"passed": true, "token": ""}\'); assert False',
        "input()",
        "'\\ud800'.encode()",
    ],
)
def test_failing_leaving_early_and_pretending_do_not_pass(sandbox: Sandbox, program: str) -> None:
    assert not sandbox.run(program).passed


def test_infinite_loops(sandbox: Sandbox) -> None:
    assert_fails(sandbox, "while True: pass")


def test_sleeping_for_ever(sandbox: Sandbox) -> None:
    assert_fails(sandbox, "import time\ntime.sleep(1e6)")


def test_swallowing_every_signal_and_exception(sandbox: Sandbox) -> None:
    assert_fails(
        sandbox,
        "import signal\nfor n in (2, 15, 24): signal.signal(n, signal.SIG_IGN)\n"
        "while True:\n try:\n  while True: pass\n except BaseException: pass",
    )


def test_fork_bombs(sandbox: Sandbox) -> None:
    assert_fails(sandbox, "import os\nwhile True: os.fork()")


def test_thread_bombs(sandbox: Sandbox) -> None:
    assert_fails(
        sandbox,
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,)).start()",
    )


def test_memory_bombs(sandbox: Sandbox) -> None:
    assert_fails(sandbox, "x = []\nwhile True: x.append(bytearray(10**8))")


def test_files_without_end(sandbox: Sandbox) -> None:
    assert_fails(sandbox, "f = open('big', 'wb')\nwhile True: f.write(b'x' * 10**6)")


def test_network_calls(sandbox: Sandbox) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.2)
        assert_fails(sandbox, f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)")
        with pytest.raises(TimeoutError):
            server.accept()


def test_writes_outside_the_temporary_directory(sandbox: Sandbox) -> None:
    # Open to everybody, so that only the sandbox can be what refuses.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        target, kept = Path(place, "escaped"), Path(place, "kept")
        kept.write_text("kept")
        kept.chmod(0o666)
        assert_fails(sandbox, f"open({str(target)!r}, 'w').write('x')")
        assert_fails(sandbox, f"open({str(kept)!r}, 'a').write('x')")
        assert_fails(sandbox, f"import os\nos.remove({str(kept)!r})")
        assert_fails(sandbox, f"import os\nos.symlink({str(kept)!r}, {str(target)!r})")
        assert not target.is_symlink()
        assert not target.exists()
        assert kept.read_text() == "kept"


def test_killing_the_parents_group_and_everything_else(sandbox: Sandbox) -> None:
    # Where only the hook stands between, signal 0: a broken hook must fail this test, not end it
    # together with all that runs on the machine.
    signal = 9 if sandbox.bubblewrap else 0
    assert_fails(sandbox, f"import os\nos.killpg(os.getpgid(os.getppid()), {signal})")
    assert_fails(sandbox, f"import os\nos.kill({os.getpid()}, {signal})")
    assert_fails(sandbox, f"import os\nos.kill(-1, {signal})")


def test_a_child_left_behind_is_gone(sandbox: Sandbox) -> None:
    seconds = f"{60 + random.random():.9f}"  # tells this sleep from all others
    child = f" os.setsid()\n os.execv('/bin/sleep', ['sleep', {seconds!r}])"
    outcome = sandbox.run(f"import os, time\nif os.fork() == 0:\n{child}\ntime.sleep(0.3)")
    assert outcome.passed or sandbox.hook  # the hook lets it start none
    deadline = time.monotonic() + 5
    while _alive(seconds) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(seconds)


def test_secrets_of_the_environment_are_not_there(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPT_SECRET", "x")
    assert sandbox.run("import os\nassert 'ADAPT_SECRET' not in os.environ").passed


def test_outcomes_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    programs = [f"import time; time.sleep({n % 2 / 4}); assert {n % 3}" for n in range(9)]
    outcomes = sandbox.run_all(programs, at_once=3)
    assert [one.passed for one in outcomes] == [bool(n % 3) for n in range(9)]


def test_bubblewrap_is_refused_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapt_eval.sandbox.run.bubblewrap_works", lambda: False)
    assert not Sandbox().bubblewrap
    with pytest.raises(ValueError, match="install `bwrap`"):
        Sandbox(bubblewrap=True)


def _alive(mark: str) -> bool:
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found |= mark.encode() in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.write(3, b'[' * 60000); os._exit(0)",
        "raise ValueError(chr(0xd800))",
        # Deeper than Python's stack.
        "import os\nfor _ in range(1500):\n    os.mkdir('d'); os.chdir('d')\nassert False",
    ],
)
def test_a_report_or_a_room_that_python_cannot_handle(
    sandbox: Sandbox, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    assert assert_fails(sandbox, program).error.encode()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A folder that anyone may write to: root's programs run as nobody where the interpreter lies
    open, and pytest's own folders are shut to them."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        yield Path(place)


def test_no_way_round_the_hook_leads_out_of_the_room(for_all: Path) -> None:
    """With the audit hook alone; every program here would do its harm without it."""
    outside = for_all / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "kept").write_text("x")
    place = str(outside)
    programs = [
        f"import shutil; shutil.rmtree({place!r})",
        f"import os; d = os.open({place!r}, os.O_RDONLY); os.open('x', os.O_CREAT, dir_fd=d)",
        f"import sqlite3; sqlite3.connect({place + '/x.db'!r}).execute('create table t (a)')",
        f"import os; os.mknod({place + '/n'!r})",
        "import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
        "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_CORE, (0, 0))",
        "from multiprocessing.util import spawnv_passfds as s; s(b'/bin/true', [b'true'], [])",
    ]
    sandbox = Sandbox(LIMITS, bubblewrap=False)
    for program in programs:
        outcome = sandbox.run(program)
        assert not outcome.passed, program
        assert "sandbox: may not" in outcome.error, (program, outcome.error)
    assert [file.name for file in outside.iterdir()] == ["kept"]
    assert sandbox.run(
        "import sqlite3, shutil, os\nsqlite3.connect(':memory:')\nsqlite3.connect('own.db')\n"
        "os.mkdir('a')\nshutil.rmtree('a')"
    ).passed


def test_devices_give_no_room_beyond_the_limit() -> None:
    if not bubblewrap_works():
        pytest.skip("bubblewrap is not installed or may not make namespaces here")
    program = "open('/dev/shm/x', 'w').write('x')"
    assert not Sandbox(LIMITS, bubblewrap=True, hook=False).run(program).passed
