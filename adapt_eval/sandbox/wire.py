"""Values on their way between a program and its judge: plain data by value, the rest by number.

What a judge compares is rebuilt from exact types only. An object of a class of the program's never
leaves it, so that it cannot say of itself that it equals whatever is expected; nor can a subclass
of `int` or `list`, which arrives as an `int` or a `list`.
"""

from collections.abc import Callable
from itertools import islice
from types import ModuleType
from typing import Any

_LONGEST_ITERATOR = 100_000
_SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "iterator": iter,
}


def encode(value: Any, number_of: Callable[[Any], int]) -> Any:
    """A value as JSON can hold it.

    Args:
        number_of: gives a number to an object that is no plain data.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return ["int", str(int(value)) if abs(int(value)) < 10**4000 else hex(int(value))]
    if isinstance(value, float):
        return ["float", float.hex(float(value))]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, str):
        return ["str", str.__str__(value)]
    if isinstance(value, bytes | bytearray):
        return ["bytes", bytes(value).hex()]
    if isinstance(value, dict):
        items = [[encode(k, number_of), encode(v, number_of)] for k, v in dict.items(value)]
        return ["dict", items]
    kind: Any
    for kind in (tuple, list, set, frozenset):
        if isinstance(value, kind):
            return [kind.__name__, [encode(one, number_of) for one in kind.__iter__(value)]]
    if isinstance(value, ModuleType):
        return ["module", value.__name__]
    if hasattr(type(value), "__next__"):
        items = [encode(one, number_of) for one in islice(value, _LONGEST_ITERATOR)]
        return ["iterator", items]
    return ["object", number_of(value)]


def decode(sent: Any, object_of: Callable[[int], Any], module_of: Callable[[str], Any]) -> Any:
    """The value that `encode` was given.

    Args:
        object_of: what stands for an object with a number.
        module_of: what stands for a module.
    """
    if sent is None or isinstance(sent, bool):
        return sent
    kind, content = sent[0], sent[1]
    if kind == "int":
        return int(content, 16) if "x" in content else int(content)
    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(content, sent[2])
    if kind == "str":
        return str(content)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "dict":
        return {
            decode(k, object_of, module_of): decode(v, object_of, module_of) for k, v in content
        }
    if kind == "module":
        return module_of(content)
    if kind == "object":
        return object_of(int(content))
    return _SEQUENCES[kind](decode(one, object_of, module_of) for one in content)
