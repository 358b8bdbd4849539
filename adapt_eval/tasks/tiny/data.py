"""The documents of the tiny suite: made here, the same on every machine."""

from __future__ import annotations

import random
from typing import Any

import datasets

_NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn"]
_COLOURS = ["red", "blue", "green", "black", "white", "yellow"]
_THINGS = ["box", "hat", "cup", "book", "coat", "ball"]


def _splits(rows: list[dict[str, Any]], shots: int) -> dict[str, datasets.Dataset]:
    return {
        "train": datasets.Dataset.from_list(rows[:shots]),
        "test": datasets.Dataset.from_list(rows[shots:]),
    }


def sums(**_: Any) -> dict[str, datasets.Dataset]:
    """60 sums of two digits with four answers each."""
    chosen = random.Random(1)
    rows = []
    for left in range(2, 10):
        for right in range(2, 10):
            total = left + right
            wrong = chosen.sample([n for n in range(4, 19) if n != total], 3)
            choices = [total, *wrong]
            chosen.shuffle(choices)
            rows.append(
                {
                    "question": f"{left} + {right}",
                    "choices": [str(one) for one in choices],
                    "answer": choices.index(total),
                }
            )
    chosen.shuffle(rows)
    return _splits(rows, 4)


def passages(**_: Any) -> dict[str, datasets.Dataset]:
    """10 passages with four questions each."""
    chosen = random.Random(2)
    rows = []
    for _passage in range(11):
        names = chosen.sample(_NAMES, 4)
        things = chosen.sample(_THINGS, 4)
        owned = [f"a {chosen.choice(_COLOURS)} {thing}" for thing in things]
        passage = " ".join(f"{n} has {o}." for n, o in zip(names, owned, strict=True))
        for name, answer in zip(names, owned, strict=True):
            question = f"What does {name} have?"
            rows.append({"passage": passage, "question": question, "answer": answer})
    return _splits(rows, 4)


def programs(**_: Any) -> dict[str, datasets.Dataset]:
    """12 functions of one line, as HumanEval would ask for them."""
    wanted: list[tuple[str, str, str, str, list[tuple[Any, Any]]]] = [
        ("double", "x", "twice x", "x * 2", [(2, 4), (5, 10)]),
        ("negative", "x", "minus x", "-x", [(2, -2), (-5, 5)]),
        ("successor", "x", "the whole number after x", "x + 1", [(1, 2), (9, 10)]),
        ("square", "x", "x times x", "x * x", [(3, 9), (4, 16)]),
        ("is_even", "x", "whether x is even", "x % 2 == 0", [(2, True), (3, False)]),
        ("first", "items", "the first of a list", "items[0]", [([1, 2], 1), (["a"], "a")]),
        ("last", "items", "the last of a list", "items[-1]", [([1, 2], 2), (["a"], "a")]),
        ("count", "items", "how many a list has", "len(items)", [([], 0), ([1, 2], 2)]),
        ("total", "items", "the sum of a list", "sum(items)", [([], 0), ([1, 2], 3)]),
        ("shout", "text", "text in capitals", "text.upper()", [("a", "A"), ("Ab", "AB")]),
        ("backwards", "text", "text from its end", "text[::-1]", [("ab", "ba"), ("", "")]),
        ("largest", "items", "the largest of a list", "max(items)", [([1, 3], 3), ([2], 2)]),
    ]
    rows = []
    for name, argument, meaning, body, cases in wanted:
        checks = "".join(f"    assert candidate({x!r}) == {y!r}\n" for x, y in cases)
        rows.append(
            {
                "prompt": f'def {name}({argument}):\n    """Return {meaning}."""\n',
                "canonical_solution": f"    return {body}\n",
                "test": f"def check(candidate):\n{checks}",
                "entry_point": name,
            }
        )
    return {"test": datasets.Dataset.from_list(rows)}


def instructions(**_: Any) -> dict[str, datasets.Dataset]:
    """32 orders whose keeping a few lines of code can check."""
    chosen = random.Random(3)
    rows = []
    for colour in _COLOURS[:4]:
        for thing in _THINGS[:2]:
            about = f"a {colour} {thing}"
            limit = chosen.randint(3, 12)
            rows += [
                {"order": f"Write about {about} without a comma.", "rule": "no_comma", "value": ""},
                {"order": f"Write about {about} in lower case.", "rule": "lower", "value": ""},
                {
                    "order": f"Write about {about} with the word {colour}.",
                    "rule": "contains",
                    "value": colour,
                },
                {
                    "order": f"Write about {about} in at most {limit} words.",
                    "rule": "at_most",
                    "value": str(limit),
                },
            ]
    return {"test": datasets.Dataset.from_list(rows)}
