"""What is said of a run in which each of two tasks teaches one of two targets and nothing else."""

from __future__ import annotations

import numpy as np

from benchmarks.effects_truth import looking, mappings, of_run, train


def test_each_task_helps_the_target_that_it_teaches() -> None:
    every = mappings()
    tasks = {name: every[name] for name in ("same", "other")}
    both = list(tasks.values())
    look = looking(both, both, np.random.default_rng(1000))
    effects = of_run(train(tasks, np.array([0.5, 0.5]), 0, look)[1])
    own, across = np.diag(effects.values), np.diag(effects.values[::-1])
    assert (own > 20 * np.diag(effects.errors)).all()
    # The symbols of one are wrong answers for the other, which both learn at once.
    assert (np.abs(across) < 0.03 * own).all()
    assert np.diag(effects.told_from_noise()).all()
    above = effects.above_average(np.array([0.5, 0.5]))
    assert (np.diag(above.values) > 0).all()
    assert above.told_from_noise().all()
