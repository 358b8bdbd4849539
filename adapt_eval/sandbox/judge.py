"""The process of the judge: runs the checks, and asks the program for what they call.

Input: one JSON object {"program", "checks", "given", "entry", "limits", "hook", "become", "send",
"receive"}; the last two are descriptors of pipes to the program's process. Output: one JSON line
{"passed", "error"} on the standard output.
"""

import ast
import builtins
import importlib
import json
import os
import sys
from typing import Any

from adapt_eval.sandbox.confine import become, limit
from adapt_eval.sandbox.wire import decode, encode

_LONGEST_ANSWER = 16 << 20


class Handle:
    """Stands for an object of the program, such as a function. It equals nothing but itself."""

    def __init__(self, line: "Line", number: int) -> None:
        self.line, self.number = line, number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        sent = {"call": self, "arguments": list(arguments), "named": named}
        return self.line.ask({key: encode(one, self.line.number_of) for key, one in sent.items()})


class Line:
    """Talks to the program's process."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = os.fdopen(send, "wb"), os.fdopen(receive, "rb")
        self._handles: dict[int, Handle] = {}

    def send(self, content: Any) -> None:
        self._send.write(json.dumps(content).encode() + b"\n")
        self._send.flush()

    def number_of(self, value: Any) -> int:
        if isinstance(value, Handle):
            return value.number
        raise TypeError(f"the checks hand over a {type(value).__name__}, which is no plain data")

    def handle(self, number: int) -> Handle:
        return self._handles.setdefault(number, Handle(self, number))

    def answer(self) -> Any:
        line = self._receive.readline(_LONGEST_ANSWER)
        if not line.endswith(b"\n"):
            raise EOFError("ended without a verdict (killed by a limit, or left early)")
        said = json.loads(line)
        if "error" in said:
            raised: Any = getattr(builtins, said["error"], None)
            ordinary = isinstance(raised, type) and issubclass(raised, Exception)
            if ordinary and raised is not EOFError:
                try:
                    failure = raised(said["message"])
                except TypeError:
                    failure = RuntimeError(f"{said['error']}: {said['message']}")
                raise failure
            raise Failed(said["error"], said["message"])
        return decode(said["value"], self.handle, module)

    def ask(self, request: Any) -> Any:
        self.send(request)
        return self.answer()


class Failed(Exception):
    """The program raised what is no ordinary exception, such as an exit."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def module(name: str) -> Any:
    """A module of the standard library, our own copy: the program's may be changed."""
    if name.split(".")[0] not in sys.stdlib_module_names:
        raise ImportError(f"the checks use {name}, which is not of the standard library")
    return importlib.import_module(name)


class Names(dict[str, Any]):
    """Global names of the checks: their own, then Python's, then the program's.

    Where checks call nothing but Python's own functions, the first that they call is the program's:
    it was asked to write one of that name.
    """

    def __init__(self, line: Line, checks: str) -> None:
        super().__init__()
        self._line = line
        called = [
            node.func.id
            for node in ast.walk(ast.parse(checks))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        own = called and all(hasattr(builtins, name) for name in called)
        self._rewritten = called[0] if own else None

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) and name != self._rewritten:
            return getattr(builtins, name)
        self[name] = self._line.ask({"get": name})
        return self[name]


def judge(order: dict[str, Any]) -> str:
    """What is wrong with the program; empty where nothing is."""
    line = Line(order["send"], order["receive"])
    try:
        line.send({key: order[key] for key in ("program", "limits", "hook", "become")})
        line.answer()
        if order["checks"]:
            names = Names(line, order["checks"])
            if order["given"]:
                exec(compile(order["given"], "<given>", "exec"), names)
                names.pop(order["entry"], None)
            exec(compile(order["checks"], "<checks>", "exec"), names)
    except EOFError as failure:
        return str(failure)
    except Failed as failure:
        return f"{failure.name}: {failure}"[:500]
    except BrokenPipeError:
        return "ended without a verdict (killed by a limit, or left early)"
    except BaseException as failure:  # noqa: BLE001  whatever the checks raise is the program's failure
        return f"{type(failure).__name__}: {failure}"[:500]
    return ""


def main() -> None:
    order = json.load(sys.stdin)
    limit(order["limits"])
    if order["become"] is not None:
        become(order["become"])
    error = judge(order)
    sys.stdout.write(json.dumps({"passed": not error, "error": error}) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
