"""The mixtures of an earlier run, drawn again: a control. K tasks, S spans.

What did it, if a mixture that moves does well? Its average, drawn from start to end, has all but
the movement. Its schedule with the tasks permuted has the same movement for the wrong tasks; with
time reversed or shuffled, the same mixtures for each task in another order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.mixture.scheduled import Phases

ReplayedAs = Literal["average", "schedule", "permuted", "reversed", "shuffled"]


@dataclass(frozen=True, eq=False)
class Replay(Phases):
    """Spans of an earlier run, each to the same share of this one."""

    def fingerprint(self) -> dict[str, Any]:
        """Hundreds of mixtures are told by their digest."""
        digest = hashlib.sha256(self.ends.tobytes() + self.shares.tobytes())
        return {"digest of the replayed mixtures": digest.hexdigest()[:16]}


def replayed(
    ends: np.ndarray, shares: np.ndarray, average: np.ndarray, how: ReplayedAs, seed: int
) -> Replay:
    """The schedule.

    Args:
        ends: (S,) share of the earlier run at which each of its spans ended, ascending; the last
            is 1.
        shares: (S, K) the mixture in force in each span.
        average: (K,) over the tokens of the run.
        how: `average`: that; `schedule`: as they were; `permuted`: with each task in the place of
            another one; `reversed`: from the last span to the first; `shuffled`: in random order,
            each as long as it was.
        seed: of the permutation and the order.
    """
    if how == "average":
        return Replay(np.ones(1), average[None])
    if how == "permuted":
        trained = np.asarray((shares > 0).any(axis=0))
        return Replay(ends, np.take(shares, other_tasks(trained, seed), axis=1))
    order = np.arange(len(ends))
    if how == "reversed":
        order = order[::-1]
    elif how == "shuffled":
        order = RandomStream.REPLAY.generator(seed, 1).permutation(order)
    lengths = np.diff(ends, prepend=0.0)[order]
    new_ends = np.cumsum(lengths)
    new_ends[-1] = 1.0  # sums of parts are not 1 to the bit
    return Replay(ends if how == "schedule" else new_ends, shares[order])


def other_tasks(trained: np.ndarray, seed: int) -> np.ndarray:
    """(K,) for each task that is trained on another such one, in one random circle through all of
    them, so that none keeps its place. trained: (K,) bool."""
    circle = RandomStream.REPLAY.generator(seed, 0).permutation(np.flatnonzero(trained))
    others = np.arange(len(trained))
    others[circle] = np.roll(circle, 1)
    return others
