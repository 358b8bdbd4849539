"""The best static mixture in hindsight, by search: what learned ones are compared with. K tasks.

All runs of a search have one seed of the model and of the draws, which no reported run has. First
come mixtures at random about uniform; each tells how the loss of every task answers to its share,

    V_k = a_k - b_k log p_k

by least squares over the runs so far. The mixture that is best by these lines is run next, and
joins them. What is reported, with other seeds, is the mixture that was best in the search as it
ran, uniform shares among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from study_regimes import counted

SEED = 201
RANDOM = tuple(f"random {number}" for number in range(1, 9))
ROUNDS = 2
# Standard deviation of the logits of a random mixture, nats.
SPREAD = 0.6
# A proposal moves logits by so much at most from what was run before, where lines hold.
REACH = 1.5

Line = dict[str, Any]


def quarter(losses: np.ndarray) -> float:
    """Mean loss of the worst quarter of tasks."""
    return float(np.sort(losses)[-max(1, len(losses) // 4) :].mean())


GOALS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda losses: float(losses.mean()),
    "worst quarter": quarter,
    "targets": lambda losses: float(losses.mean()),
}
PROPOSED = {
    f"proposed, {goal} {number}": (goal, number)
    for goal in GOALS
    for number in range(1, ROUNDS + 1)
}


def random_mixture(arm: str, count: int) -> np.ndarray:
    """(K,) of the arm `random N`."""
    rng = np.random.default_rng([SEED, int(arm.split()[1])])
    shares = np.exp(SPREAD * rng.normal(size=count))
    return np.asarray(shares / shares.sum())


def responses(runs: list[Line]) -> tuple[np.ndarray, np.ndarray]:
    """(a, b), (K,) each, of the lines; b at least a tenth of the median, because more of a task
    helps it."""
    logs = np.log([run["average"] for run in runs])
    losses = np.array([run["losses"] for run in runs])
    centred = logs - logs.mean(axis=0)
    slopes = -(centred * losses).sum(axis=0) / (centred**2).sum(axis=0)
    slopes = np.maximum(slopes, 0.1 * np.median(slopes))
    return losses.mean(axis=0) + slopes * logs.mean(axis=0), slopes


def judged(goal: str, run: Line) -> np.ndarray:
    """(K,) bool: the tasks whose losses the goal is about."""
    counts = counted("targets" if goal == "targets" else run["regime"], run["tasks"])
    return np.array([task in counts for task in run["tasks"]])


def reached(goal: str, run: Line) -> float:
    """What a run has of a goal; lower is better."""
    return GOALS[goal](np.array(run["losses"])[judged(goal, run)])


def proposal(goal: str, runs: list[Line], *, kept: float | None = None) -> np.ndarray:
    """(K,) the mixture that is best by the lines of these runs.

    Args:
        goal: of `GOALS`.
        runs: of the search.
        kept: no loss that the goal is not about is to end above this multiple of what it is under
            uniform shares, by the lines too.
    """
    level, slopes = responses(runs)
    own = judged(goal, runs[0])
    uniform = np.full(len(level), 1 / len(level))
    highest = np.inf if kept is None else kept * (level - slopes * np.log(uniform))[~own]

    def shares(logits: np.ndarray) -> np.ndarray:
        weights = uniform * np.exp(logits)
        return np.asarray(weights / weights.sum())

    def losses(logits: np.ndarray) -> np.ndarray:
        return np.asarray(level - slopes * np.log(shares(logits)))

    found = minimize(
        lambda logits: GOALS[goal](losses(logits)[own]),
        np.zeros(len(level)),
        bounds=[(-REACH, REACH)] * len(level),
        **(
            {"method": "L-BFGS-B", "options": {"maxfun": 100_000}}
            if kept is None
            else {
                "method": "SLSQP",
                "constraints": {
                    "type": "ineq",
                    "fun": lambda logits: highest - losses(logits)[~own],
                },
            }
        ),
    )
    return shares(found.x)


def best(goal: str, runs: list[Line]) -> dict[str, float]:
    """Task -> its share in the mixture that was best for the goal as it ran, of these runs."""
    first = min(runs, key=lambda run: reached(goal, run))
    return dict(zip(first["tasks"], first["average"], strict=True))


def mixture(arm: str, runs: list[Line], count: int) -> np.ndarray:
    """(K,) shares of an arm of a search.

    Args:
        arm: of `RANDOM` or `PROPOSED`.
        runs: of this search so far.
        count: K.
    """
    if arm in RANDOM:
        return random_mixture(arm, count)
    goal, number = PROPOSED[arm]
    mine = {name for name, (other, round_) in PROPOSED.items() if other == goal and round_ < number}
    missing = {"uniform", *RANDOM, *mine} - {run["arm"] for run in runs}
    if missing:
        raise SystemExit(f"{arm}: run {', '.join(sorted(missing))} with seed {SEED} first")
    later = {name for name, (_, round_) in PROPOSED.items() if round_ >= number}
    return proposal(goal, [run for run in runs if run["arm"] not in later])
