"""A history and a ledger for the pictures, with as many tasks as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapt_axolotl.records.trajectory import Trajectory, trajectory

Records = tuple[list[dict[str, Any]], dict[str, Any], dict[str, dict[str, float]]]


def made(names: Sequence[str], meta_steps: int = 3) -> Records:
    """(history, ledger, mixture): the mixture moves at 1,000, 1,100, ... tokens, from uniform."""
    generator = np.random.default_rng(0)
    uniform = dict.fromkeys(names, 1 / len(names))
    history = []
    for step in range(meta_steps):
        shares = generator.dirichlet(np.ones(len(names)))
        losses = generator.uniform(1, 2, len(names))
        history.append(
            {
                "step": 10 + step,
                "tokens": 1000 + 100 * step,
                "proportions": dict(zip(names, shares.tolist(), strict=True)),
                "validation_loss": dict(zip(names, losses.tolist(), strict=True)),
            }
        )
    final = history[-1]["proportions"] if history else uniform
    used = 1000 + 100 * meta_steps
    task = {
        "tokens": used // len(names),
        "repeats": 1.5,
        "first_validation_loss": 3.25,
        "last_validation_loss": 0.5,
    }
    ledger = {
        "budget": 12_345,
        "used": used,
        "left": 12_345 - used,
        "meta_tokens": 67,
        "meta_tokens_charged": False,
        "steps": 9 + meta_steps,
        "tasks": {name: dict(task) for name in names},
    }
    return history, ledger, {"initial": uniform, "average": final, "final": final}


def drawn(names: Sequence[str], meta_steps: int = 3) -> Trajectory:
    """The same as a trajectory."""
    history, ledger, mixture = made(names, meta_steps)
    return trajectory(history, ledger, mixture["initial"])
