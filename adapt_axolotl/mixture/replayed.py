"""The mixtures of an earlier run, drawn again: a control. K tasks, S spans.

What did it, if a mixture that moves does well? Its average, drawn from start to end, has all but
the movement. Its schedule with the tasks permuted has the same movement for the wrong tasks; with
time reversed or shuffled, the same mixtures for each task in another order. A random walk is on
average as far from where it began.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adapt_axolotl.data.random_streams import RandomStream
from adapt_axolotl.mixture.scheduled import Phases

ReplayedAs = Literal["average", "schedule", "permuted", "reversed", "shuffled", "walk"]


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
            each as long as it was; `walk`: see `random_walk`.
        seed: of the permutation, the order and the walk.
    """
    if how == "average":
        return Replay(np.ones(1), average[None])
    if how == "permuted":
        trained = np.asarray((shares > 0).any(axis=0))
        return Replay(ends, np.take(shares, other_tasks(trained, seed), axis=1))
    if how == "walk":
        return Replay(ends, random_walk(np.diff(ends, prepend=0.0), shares, seed))
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


def random_walk(lengths: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """(S, K) a walk of the logits that begins where the run began, in random directions. Its steps
    are as long as the run's but for one factor, by which it is on average over the spans as far
    from where it began as the run was (ours). A run that goes straight has shorter steps.

    Args:
        lengths: (S,) of the spans.
        shares: (S, K) of the run. Tasks that have none in some span keep theirs in all, and the
            others walk within what is left.
        seed: of the directions.
    """
    walking = (shares > 0).all(axis=0)
    if walking.sum() < 2:
        return shares
    logits = np.log(shares[:, walking])
    logits -= logits.mean(axis=1, keepdims=True)
    directions = RandomStream.REPLAY.generator(seed, 2).normal(size=logits[1:].shape)
    directions -= directions.mean(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    steps = directions * np.linalg.norm(np.diff(logits, axis=0), axis=1, keepdims=True)
    walk = np.concatenate([np.zeros_like(logits[:1]), np.cumsum(steps, axis=0)])
    far, own = (lengths @ np.linalg.norm(path, axis=1) for path in (logits - logits[0], walk))
    if own > 0:
        walk *= far / own
    walked = np.exp(logits[0] + walk)
    walked *= shares[:, walking].sum(axis=1, keepdims=True) / walked.sum(axis=1, keepdims=True)
    mixtures = shares.copy()
    mixtures[:, walking] = walked
    return mixtures
