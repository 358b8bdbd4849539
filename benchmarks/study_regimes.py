"""The regimes of the study: what is done to the rows of its tasks before a run reads them.

`natural` (and `study`, its name in learned_signal.py): the twenty tasks as they are, whose sizes
differ forty-fold. `targets`: the same rows; four small tasks alone count. `balanced`: every task
cut to as many training rows as the smallest ones have. `noise`: the answers of four tasks shuffled,
in all splits. `duplicates`: four tasks have copies of 60 training rows only. `clones`: each task
split in two of one distribution. `null`: all rows dealt out to 20 tasks at random. `without TASK`:
the training rows of one task left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Example = tuple[str, str, str]  # task, question, answer

# What `noise` and `duplicates` spoil; of all sizes. Their own losses say nothing there.
SPOILED = ("g2p_greek", "g2p_hungarian", "inflect_finnish", "inflect_maltese")
# Four of the smallest, for runs in which they are all that counts.
TARGETS = ("g2p_greek", "g2p_welsh", "inflect_macedonian", "inflect_maltese")

COPIED_ROWS = 60
BALANCED_ROWS = 800
WITHOUT = "without "  # and the name of a task


def counted(regime: str, tasks: Sequence[str]) -> list[str]:
    """The tasks whose test rows are reported in a regime, in the order given."""
    if regime == "targets":
        return [task for task in tasks if task in TARGETS]
    if regime in ("noise", "duplicates"):
        return [task for task in tasks if task not in SPOILED]
    return list(tasks)


def changed(examples: list[Example], regime: str, split: str) -> list[Example]:
    """The examples of a split as the regime has them.

    Args:
        examples: of all tasks, task by task.
        regime: its name.
        split: `train`, `validation` or `test`.

    Raises:
        ValueError: there is no such regime.
    """
    if regime.startswith(WITHOUT):
        left_out = regime.removeprefix(WITHOUT)
        return [one for one in examples if split != "train" or one[0] != left_out]
    if regime not in CHANGES:
        raise ValueError(
            f"regime {regime}: there is none; choose from {', '.join(CHANGES)}, {WITHOUT}TASK"
        )
    return CHANGES[regime](examples, split)


def _as_they_are(examples: list[Example], split: str) -> list[Example]:
    return examples


def _balanced(examples: list[Example], split: str) -> list[Example]:
    if split != "train":
        return examples
    return [one for own in _by_task(examples) for one in own[:BALANCED_ROWS]]


def _noise(examples: list[Example], split: str) -> list[Example]:
    rng = np.random.default_rng(0)
    result = []
    for own in _by_task(examples):
        answers = [answer for _, _, answer in own]
        if own[0][0] in SPOILED:
            answers = [answers[place] for place in rng.permutation(len(answers))]
        result += [(*one[:2], answer) for one, answer in zip(own, answers, strict=True)]
    return result


def _duplicates(examples: list[Example], split: str) -> list[Example]:
    if split != "train":
        return examples
    result = []
    for own in _by_task(examples):
        distinct = COPIED_ROWS if own[0][0] in SPOILED else len(own)
        result += [own[place % distinct] for place in range(len(own))]
    return result


def _clones(examples: list[Example], split: str) -> list[Example]:
    return [
        (f"{task} {'ab'[place % 2]}", question, answer)
        for place, (task, question, answer) in enumerate(examples)
    ]


def _null(examples: list[Example], split: str) -> list[Example]:
    dealt = np.random.default_rng(0).integers(0, 20, len(examples))
    return [
        (f"part {part:02}", question, answer)
        for part, (_, question, answer) in zip(dealt, examples, strict=True)
    ]


CHANGES: dict[str, Callable[[list[Example], str], list[Example]]] = {
    "study": _as_they_are,
    "natural": _as_they_are,
    "targets": _as_they_are,
    "balanced": _balanced,
    "noise": _noise,
    "duplicates": _duplicates,
    "clones": _clones,
    "null": _null,
}


def _by_task(examples: list[Example]) -> Iterator[list[Example]]:
    """The examples of each task, in the order in which tasks first appear."""
    own: dict[str, list[Example]] = {}
    for one in examples:
        own.setdefault(one[0], []).append(one)
    yield from own.values()
