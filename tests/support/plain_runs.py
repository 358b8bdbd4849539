"""Runs without a model: rows of three tasks, a plan over them, and the steps of a run."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape


def make_pools(seed: int = 0, sizes: tuple[int, ...] = (400, 50, 900)) -> TaskPools:
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(task)
    typical = np.array([3, 40, 12, 7, 25])[task]
    supervised = rng.integers(1, 2 * typical)
    return TaskPools(
        tuple("abcde"[: len(sizes)]), task, supervised, supervised + rng.integers(5, 20, len(task))
    )


def make_plan(**changes) -> RunPlan:
    plan = RunPlan(
        pools=make_pools(),
        budget=5000,
        shape=BlockShape(micro_batches=2, rows=4),
        unit="tokens",
        ordered=False,
        seed=0,
        max_repeats=None,
        charge_meta_tokens=False,
        initial=np.array([0.5, 0.2, 0.3]),
        max_steps=None,
    )
    return replace(plan, **changes)


def train(
    run: AdaptRun, stop: int | None = None, begin: int = 0, skipped: Container[int] = ()
) -> int:
    """Steps until the run, or `stop`, ends it; the optimizer skips some of them."""
    step, more = begin, True
    while more and step != stop:
        run.begin_step(step)
        run.commit_step(step, skipped=step in skipped)
        more = run.end_step(step, record=True)
        step += 1
    return step
