"""The best static mixture in hindsight, by search: what `learned_signal.py` compares with. K tasks.

All runs of a search have one seed of the model and of the draws, which no reported run has. First
come mixtures at random about uniform; each tells how the loss of every task answers to its share,

    V_k = a_k - b_k log p_k

by least squares over the runs so far. The mixture that is best by these lines is run next, and
joins them. What is reported, with other seeds, is the mixture that was best in the search as it
ran, uniform shares among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from study_regimes import TARGETS

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


def of_targets(losses: np.ndarray, tasks: Sequence[str]) -> float:
    """Mean loss of the targets among these tasks."""
    return float(losses[[task in TARGETS for task in tasks]].mean())


GOALS: dict[str, Callable[[np.ndarray, Sequence[str]], float]] = {
    "mean": lambda losses, _: float(losses.mean()),
    "worst quarter": lambda losses, _: quarter(losses),
    "targets": of_targets,
}
PROPOSED = {
    f"proposed, {goal} {number}": (goal, number)
    for goal in GOALS
    for number in range(1, ROUNDS + 1)
}
FOUND = {f"searched, {goal}": goal for goal in GOALS}


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


def proposal(goal: str, runs: list[Line]) -> np.ndarray:
    """(K,) the mixture that is best by the lines of these runs."""
    level, slopes = responses(runs)
    tasks = runs[0]["tasks"]
    uniform = np.full(len(level), 1 / len(level))

    def shares(logits: np.ndarray) -> np.ndarray:
        weights = uniform * np.exp(logits)
        return np.asarray(weights / weights.sum())

    found = minimize(
        lambda logits: GOALS[goal](level - slopes * np.log(shares(logits)), tasks),
        np.zeros(len(level)),
        bounds=[(-REACH, REACH)] * len(level),
        method="L-BFGS-B",
        options={"maxfun": 100_000},
    )
    return shares(found.x)


def found(goal: str, known: list[Line], **same: Any) -> dict[str, float]:
    """Task -> its share in the mixture that was best for the goal as it ran in the search.

    Args:
        goal: of `GOALS`.
        known: runs so far, others among them.
        same: keys of a run and what the search has in them, such as its budget.
    """
    return best(goal, [run for run in known if run["seed"] == SEED and same.items() <= run.items()])


def best(goal: str, runs: list[Line]) -> dict[str, float]:
    """As `found`, of these runs."""
    first = min(runs, key=lambda run: GOALS[goal](np.array(run["losses"]), run["tasks"]))
    return dict(zip(first["tasks"], first["average"], strict=True))


def mixture(arm: str, key: Line, known: list[Line], count: int) -> np.ndarray:
    """(K,) shares of an arm of a search, or of what it found.

    Args:
        arm: of `RANDOM`, `PROPOSED` or `FOUND`.
        key: of the run: regime, budget, bins.
        known: runs so far.
        count: K.
    """
    if arm in RANDOM:
        return random_mixture(arm, count)
    same = {name: key[name] for name in ("regime", "budget", "bins")}
    runs = [line for line in known if line["seed"] == SEED and same.items() <= line.items()]
    if arm in FOUND:
        return np.array(list(best(FOUND[arm], runs).values()))
    goal, number = PROPOSED[arm]
    earlier = [name for name, (_, other) in PROPOSED.items() if other < number]
    wanted = {"uniform", *RANDOM, *earlier}
    missing = wanted - {run["arm"] for run in runs}
    if missing:
        raise SystemExit(f"{arm}: run {', '.join(sorted(missing))} with seed {SEED} first")
    return proposal(goal, [run for run in runs if run["arm"] in wanted])
