"""The mixture and the losses of a run over its tokens, as its pictures show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Tasks with a colour and a place in the legend; of more, the largest. Beyond these neither colours
# nor bands can be told apart.
NAMED = 24


@dataclass(frozen=True)
class Trajectory:
    """K tasks, in S spans of tokens; the mixture is constant in a span.

    Attributes:
        tasks: the K names.
        edges: (S + 1,) supervised tokens trained on, from 0 to the end of the run: where the spans
            begin and end.
        shares: (S, K) proportions in force in each span.
        losses: for each task the (tokens, validation loss) that were measured, by tokens.
    """

    tasks: tuple[str, ...]
    edges: np.ndarray
    shares: np.ndarray
    losses: tuple[tuple[tuple[int, float], ...], ...]

    @property
    def named(self) -> list[int]:
        """Numbers of the tasks that a picture names: those with the largest shares of the run, in
        the order of the recipe."""
        average = np.diff(self.edges) @ self.shares
        return sorted(np.argsort(-average, kind="stable")[:NAMED].tolist())

    @property
    def others(self) -> list[int]:
        """Numbers of the tasks that a picture draws without a name."""
        named = set(self.named)
        return [number for number in range(len(self.tasks)) if number not in named]


def trajectory(
    history: Sequence[Mapping[str, Any]], ledger: Mapping[str, Any], initial: Mapping[str, float]
) -> Trajectory:
    """Put the records of a run into the order of its tokens.

    Args:
        history: lines of `history.jsonl`; a line has the mixture after the update of its step.
        ledger: the content of `ledger.json`.
        initial: the proportions that the run started with, by task.
    """
    tasks = tuple(initial)
    end = max(1, ledger["used"])
    edges, shares = [0], [[initial[task] for task in tasks]]
    for line in history:
        after = [line["proportions"][task] for task in tasks]
        # A static run writes the same mixture again and again; what the last step updates is drawn
        # no more.
        if after != shares[-1] and line["tokens"] < end:
            edges.append(line["tokens"])
            shares.append(after)
    losses = []
    for task in tasks:
        known = ledger["tasks"][task]
        points = [(0, known["first_validation_loss"])]
        for line in history:
            loss = line["validation_loss"].get(task)
            # Where tasks take turns, a task that was not measured keeps its last loss.
            if loss != points[-1][1]:
                points.append((line["tokens"], loss))
        points.append((end, known["last_validation_loss"]))
        losses.append(tuple((at, loss) for at, loss in points if loss is not None))
    return Trajectory(tasks, np.array([*edges, end]), np.array(shares), tuple(losses))


def compact(tokens: float) -> str:
    """A number of tokens as a label: 0, 500, 20k, 1.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.3g}"
