"""Whatever a program does to its own process, it cannot say that it passed."""

from __future__ import annotations

import pytest

from adapt_eval.sandbox import Limits, Program, Sandbox
from adapt_eval.sandbox.run import bubblewrap_works

CHECKS = "assert double(2) == 4\nassert double(5) == 10"

# Each passed where program and checks shared an interpreter, or sets out to.
FORGERIES = {
    "walks the frames to the report": """
import sys, json
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
        if hasattr(value, 'write'):
            try:
                value.write(json.dumps({"passed": True, "error": ""}) + chr(10)); value.flush()
            except Exception:
                pass
    if 'answers' in frame.f_locals:
        frame.f_locals['answers'].write('{"value": null}' + chr(10) * 9)
        frame.f_locals['answers'].flush()
    frame = frame.f_back
def double(x): return 0
""",
    "writes verdicts to every descriptor": """
import os
for number in range(3, 64):
    try:
        os.write(number, b'{"passed": true, "error": ""}' + bytes([10]))
    except OSError:
        pass
def double(x): return 0
""",
    "an object that equals everything": """
class Same(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(x): return Same(0)
""",
    "an object of its own that equals everything": """
class Same:
    def __eq__(self, other): return True
def double(x): return Same()
""",
    "a function that swallows the assertion": """
import builtins
class AssertionError(Exception): pass
builtins.AssertionError = Exception
def double(x): raise SystemExit(0)
""",
    "looks for what is expected": """
import gc, sys
def double(x):
    for one in gc.get_objects():
        if isinstance(one, str) and 'assert double' in one:
            space = {}
            return int(one.split('== ')[1].split()[0]) if x == 2 else 10
    return 0
""",
    "replaces a function that the checks use": """
def double(x): return 0
abs = lambda value: 0
""",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_verdict_is_none(name: str) -> None:
    checks = "assert abs(double(2) - 4) < 1e-9" if "checks use" in name else CHECKS
    outcome = Sandbox(Limits(seconds=10)).run(Program(FORGERIES[name], checks))
    assert not outcome.passed, name


@pytest.mark.parametrize(
    ("program", "checks"),
    [
        ("def double(x): return 2 * x", CHECKS),
        (
            "def f(x): return (x, [1.5, float('inf')], {'a': {1}}, b'x', None, 2 + 1j, 10**5000)",
            "same = (True, [1.5, float('inf')], {'a': {1}}, b'x', None, 2 + 1j, 10**5000)\n"
            "assert f(True) == same",
        ),
        ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]"),
        (
            "class P:\n    def __init__(self, a): self.a = a\ndef first(ps): return ps[0].a",
            "assert first([P(5), P(6)]) == 5",
        ),
        ("import math\ndef root(x): return x ** .5", "assert math.isclose(root(4), 2)"),
        ("def sum(a, b): return a + b + 1", "assert sum(1, 2) == 4"),
        ("def adder(n): return lambda x: x + n", "assert adder(2)(3) == 5"),
        (
            "def f(x): raise ValueError('no')",
            "try:\n    f(1)\nexcept ValueError as error:\n    assert str(error) == 'no'\n"
            "else:\n    assert 0",
        ),
    ],
)
def test_honest_programs_pass(program: str, checks: str) -> None:
    outcome = Sandbox().run(Program(program, checks))
    assert outcome.passed, outcome.error


def test_checks_use_what_is_given_not_what_the_program_made_of_it() -> None:
    given = "def ease(x):\n    return x + 1\ndef solve(x):\n    '''Undo ease.'''\n"
    checks = "assert ease(solve(4)) == 4"
    right = Program(given + "    return x - 1\n", checks, given, "solve")
    cheat = Program(given + "    return 0\ndef ease(x): return 4\n", checks, given, "solve")
    assert Sandbox().run(right).passed
    assert not Sandbox().run(cheat).passed


def test_the_judge_is_out_of_reach_under_bubblewrap() -> None:
    if not bubblewrap_works():
        pytest.skip("bubblewrap is not installed or may not make namespaces here")
    program = (
        "import os\nn = [p for p in os.listdir('/proc') if p.isdigit()]\ndef f(): return len(n)"
    )
    assert Sandbox(hook=False).run(Program(program, "assert f() <= 2")).passed
