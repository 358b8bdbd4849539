"""The process of a program: executes it, then calls of it what its judge asks for.

Input, one JSON object a line: first {"program", "limits", "hook", "become"}, then {"get": name} or
{"call": function, "arguments", "named"}. Output: {"value"} or {"error", "message"}. The program
never sees what is expected of it, and nothing that it can say here is a verdict.
"""

import json
import os
from typing import Any

from adapt_eval.sandbox.confine import become, bolt, limit
from adapt_eval.sandbox.wire import decode, encode


def main() -> None:
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    order = json.loads(asked.readline())
    limit(order["limits"])
    if order["become"] is not None:
        become(order["become"])
    if order["hook"]:
        bolt(os.getcwd())
    names: dict[str, Any] = {}
    objects: list[Any] = []

    def number_of(value: Any) -> int:
        for number, one in enumerate(objects):
            if one is value:
                return number
        objects.append(value)
        return len(objects) - 1

    def modules(name: str) -> Any:
        return __import__(name)

    def answer(line: str) -> Any:
        if not line:
            exec(compile(order["program"], "<program>", "exec"), names)
            return None
        request = json.loads(line)
        if "get" in request:
            name = request["get"]
            if name not in names:
                raise NameError(f"name {name!r} is not defined")
            return names[name]
        function, arguments, named = (
            decode(request[key], objects.__getitem__, modules)
            for key in ("call", "arguments", "named")
        )
        return function(*arguments, **named)

    line = ""
    while True:
        try:
            said = {"value": encode(answer(line), number_of)}
        except BaseException as failure:  # noqa: BLE001  whatever it raised, exits included, is its failure
            said = {"error": type(failure).__name__, "message": str(failure)[:500]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()
        line = asked.readline()
        if not line:
            # Threads and exit handlers that the program left have no say in when this ends.
            os._exit(0)


if __name__ == "__main__":
    main()
