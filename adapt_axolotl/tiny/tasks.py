"""A made mixture of nine tasks whose difficulty is known.

    task        rows   answer    difficulty, and why
    constant    1500   short     saturates at once: one answer for every prompt
    copy        3000   medium    saturates soon: the answer stands in the prompt
    yes_no      6000   one word  easy, big: parity of the last digit
    next        3000   short     easy: the letter after the one given, 26 facts
    reverse     4500   medium    medium: the word backwards
    sort        2400   medium    medium: its letters in order
    capital      400   word      hard, small: 60 fixed made-up facts, learned only by repetition
    modular     2400   number    hard: (a + b) mod 23, needs most of the budget
    noise       4500   long      unlearnable: the answer is drawn at random

Sizes and answer lengths differ on purpose, so that proportional, uniform and learned mixing differ.
Every row's prompt is unique within its task, so no validation row is a training row; `capital` asks
for its facts in several wordings, which validation words in another way.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Row = tuple[str, str]
"""(prompt, answer)"""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VALIDATION_ROWS = 60


@dataclass(frozen=True)
class MadeTask:
    """A task that is made.

    Attributes:
        name: of the task and its folder.
        rows: training rows.
        make: draws a row.
        hold_out: tells whether a row may only be validation; None splits by draw.
    """

    name: str
    rows: int
    make: Callable[[random.Random], Row]
    hold_out: Callable[[str], bool] | None = None

    def training_rows(self) -> list[Row]:
        """The training rows, unique prompts, in the order drawn."""
        return self._draw()[0]

    def validation_rows(self) -> list[Row]:
        """Rows whose prompts are not in training."""
        return self._draw()[1]

    def _draw(self) -> tuple[list[Row], list[Row]]:
        rng = random.Random(f"adapt-tiny-{self.name}")
        seen: set[str] = set()
        train: list[Row] = []
        validation: list[Row] = []
        while len(train) < self.rows or len(validation) < _VALIDATION_ROWS:
            prompt, answer = self.make(rng)
            if prompt in seen:
                continue
            if self.hold_out is None:
                held_out = len(validation) < _VALIDATION_ROWS
            else:
                held_out = self.hold_out(prompt)
            pool, size = (validation, _VALIDATION_ROWS) if held_out else (train, self.rows)
            if len(pool) < size:
                seen.add(prompt)
                pool.append((prompt, answer))
        return train, validation


def _word(rng: random.Random, low: int, high: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(low, high)))


def _constant(rng: random.Random) -> Row:
    return f"greet {_word(rng, 3, 6)}", "hello"


def _copy(rng: random.Random) -> Row:
    word = _word(rng, 4, 6)
    return f"copy {word}", word


def _yes_no(rng: random.Random) -> Row:
    number = rng.randrange(100_000)
    return f"is {number} even", "yes" if number % 2 == 0 else "no"


def _next(rng: random.Random) -> Row:
    letter = rng.choice(_LETTERS)
    return f"after {letter} in {_word(rng, 2, 4)}", _LETTERS[(_LETTERS.index(letter) + 1) % 26]


def _reverse(rng: random.Random) -> Row:
    word = _word(rng, 3, 4)
    return f"reverse {word}", word[::-1]


def _sort(rng: random.Random) -> Row:
    word = _word(rng, 3, 4)
    return f"sort {word}", "".join(sorted(word))


def _facts() -> list[Row]:
    rng = random.Random("adapt-tiny-facts")
    return [(_word(rng, 5, 5), _word(rng, 4, 4)) for _ in range(60)]


_FACTS = _facts()
_WORDINGS = ("capital of {}", "name the capital of {}", "{} has which capital", "{} capital")


def _capital(rng: random.Random) -> Row:
    country, city = rng.choice(_FACTS)
    opening = rng.choice(("", "please ", "now "))
    return opening + rng.choice(_WORDINGS).format(country), city


def _capital_held_out(prompt: str) -> bool:
    return prompt.startswith("please name") or prompt.startswith("now name")


def _modular(rng: random.Random) -> Row:
    first, second = rng.randrange(60), rng.randrange(60)
    return f"{first} + {second} mod 23", str((first + second) % 23)


def _noise(rng: random.Random) -> Row:
    return f"oracle {_word(rng, 4, 6)}", _word(rng, 8, 10)


TASKS: tuple[MadeTask, ...] = (
    MadeTask("constant", 1500, _constant),
    MadeTask("copy", 3000, _copy),
    MadeTask("yes_no", 6000, _yes_no),
    MadeTask("next", 3000, _next),
    MadeTask("reverse", 4500, _reverse),
    MadeTask("sort", 2400, _sort),
    MadeTask("capital", 400, _capital, _capital_held_out),
    MadeTask("modular", 2400, _modular),
    MadeTask("noise", 4500, _noise),
)


def write_tasks(directory: Path) -> None:
    """Write `<task>/train.jsonl` and `<task>/validation.jsonl` for every task."""
    for task in TASKS:
        folder = directory / task.name
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in (
            ("train", task.training_rows()),
            ("validation", task.validation_rows()),
        ):
            lines = [json.dumps({"messages": _messages(row)}) + "\n" for row in rows]
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _messages(row: Row) -> list[dict[str, str]]:
    prompt, answer = row
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
