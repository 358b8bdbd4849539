"""A made mixture of nine tasks whose difficulty is known.

Loss: on validation, in nats per supervised token, a quarter through and at the end of 960 steps of
32 rows under a uniform mixture (one seed; every task starts near ln 1024 = 6.9).

    task      rows   answer      difficulty, and why                                   1/4    end
    constant  1000   one word    saturates at once: one answer for every prompt        .00    .00
    yes_no    5000   one word    easy, big: is the number even, by its last digit      .20    .00
    next      2400   1 letter    easy: the letter after the one given, 26 facts        .08    .00
    copy      2000   4 letters   easy: the answer stands in the prompt                 .48    .01
    capital    500   3 letters   medium, small: 40 made-up facts, by repetition       1.56    .03
    sort      2000   4 letters   hard: the letters in alphabetical order              1.48    .30
    add       3000   2 digits    hard: a sum of two digits, a table of 100 facts       .74    .15
    reverse   3000   5 letters   hard: the word backwards, needs most of the budget   2.29    .52
    noise     3600   9 letters   unlearnable: drawn at random, at best 9/10 ln 26     3.05   2.94

Sizes and answer lengths differ on purpose, so that proportional, uniform and learned mixing differ:
the largest pools are the noise and an easy task. Prompts are unique within a task, and a random
filler makes them so where a task has few questions, so no validation prompt is in training.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Row = tuple[str, str]
"""(prompt, answer)"""

VALIDATION_ROWS = 64

# Capitals are the letters that the tokenizer never merges: one token each.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class MadeTask:
    """A task that is made.

    Attributes:
        name: of the task and its folder.
        rows: training rows; there are `VALIDATION_ROWS` more.
        make: draws a row.
    """

    name: str
    rows: int
    make: Callable[[random.Random], Row]

    def draw(self) -> tuple[list[Row], list[Row]]:
        """(training rows, validation rows), every prompt once; the same on every call."""
        rng = random.Random(f"adapt-tiny-{self.name}")
        answers: dict[str, str] = {}
        while len(answers) < self.rows + VALIDATION_ROWS:
            prompt, answer = self.make(rng)
            answers.setdefault(prompt, answer)
        rows = list(answers.items())
        return rows[VALIDATION_ROWS:], rows[:VALIDATION_ROWS]


def _word(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(length))


def _constant(rng: random.Random) -> Row:
    return f"greet {_word(rng, 4)}", "hello"


def _yes_no(rng: random.Random) -> Row:
    number = rng.randrange(100_000)
    return f"is {number} even", "yes" if number % 2 == 0 else "no"


def _next(rng: random.Random) -> Row:
    place = rng.randrange(26)
    return f"after {_LETTERS[place]} in {_word(rng, 3)}", _LETTERS[(place + 1) % 26]


def _copy(rng: random.Random) -> Row:
    word = _word(rng, 4)
    return f"copy {word}", word


def _facts(number: int) -> list[Row]:
    rng = random.Random("adapt-tiny-facts")
    capitals: dict[str, str] = {}
    while len(capitals) < number:
        capitals.setdefault(_word(rng, 2), _word(rng, 3))
    return list(capitals.items())


_FACTS = _facts(40)


def _capital(rng: random.Random) -> Row:
    country, city = rng.choice(_FACTS)
    return f"capital of {country} for {_word(rng, 3)}", city


def _sort(rng: random.Random) -> Row:
    word = _word(rng, 4)
    return f"sort {word}", "".join(sorted(word))


def _add(rng: random.Random) -> Row:
    first, second = rng.randrange(10), rng.randrange(10)
    return f"for {_word(rng, 3)} add {first} and {second}", f"{first + second:02d}"


def _reverse(rng: random.Random) -> Row:
    word = _word(rng, 5)
    return f"reverse {word}", word[::-1]


def _noise(rng: random.Random) -> Row:
    return f"oracle {_word(rng, 5)}", _word(rng, 9)


TASKS: tuple[MadeTask, ...] = (
    MadeTask("constant", 1000, _constant),
    MadeTask("yes_no", 5000, _yes_no),
    MadeTask("next", 2400, _next),
    MadeTask("copy", 2000, _copy),
    MadeTask("capital", 500, _capital),
    MadeTask("sort", 2000, _sort),
    MadeTask("add", 3000, _add),
    MadeTask("reverse", 3000, _reverse),
    MadeTask("noise", 3600, _noise),
)


def write_tasks(directory: Path) -> None:
    """Write `<task>/train.jsonl` and `<task>/validation.jsonl` for every task."""
    for task in TASKS:
        folder = directory / task.name
        folder.mkdir(parents=True, exist_ok=True)
        train, validation = task.draw()
        _write(folder / "train.jsonl", train)
        _write(folder / "validation.jsonl", validation)


def _write(file: Path, rows: list[Row]) -> None:
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
        for prompt, answer in rows
    ]
    # Bytes, so that a line ends alike on every system.
    file.write_bytes(("\n".join(lines) + "\n").encode())
