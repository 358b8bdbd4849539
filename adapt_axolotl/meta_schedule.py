"""How often meta steps run and how much they read, so that they cost a few per cent of a run,
whatever the number of tasks (ours).

A meta step of M validation rows costs about M / B training steps of B rows for v, and what the
estimator adds: a part of a step where the training backward is read, passes over M rows of its own
otherwise. With n steps from one meta step to the next, the share is that over n. So n is chosen
first, then M is what the share leaves, then tasks take turns if M rows are too few for all K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Of the time of a run that the meta steps may take.
SHARE = 0.04

# Fewer rows of a task than this say nothing about it; more are not worth their time.
LEAST_ROWS, MOST_ROWS = 2, 4

# Turns shorter than this make v that of a handful of tasks.
LEAST_TASKS = 4

# In training steps on the same rows, by `make bench`. The first is on the step that is read.
READING_THE_BACKWARD = 0.35
PASS_OVER_OWN_ROWS = {"in_backward": 0.0, "finite_difference": 0.7, "per_task": 1.3}


@dataclass(frozen=True)
class MetaSchedule:
    """When meta steps run and what they read.

    Attributes:
        update_every: optimizer steps from one to the next.
        rows_per_task: validation rows of each task that is read.
        tasks_at_once: tasks that are read, at most.
        share: of the run's time that this is expected to take.
    """

    update_every: int
    rows_per_task: int
    tasks_at_once: int
    share: float


def meta_schedule(
    *,
    steps: int,
    rows_per_step: float,
    num_tasks: int,
    estimator: str,
    look_ahead: bool,
    update_every: int | None = None,
    rows_per_task: int | None = None,
) -> MetaSchedule:
    """The schedule of a run.

    Args:
        steps: optimizer steps of the run, about.
        rows_per_step: training rows of each, about.
        num_tasks: K.
        estimator: of the task scores.
        look_ahead: whether v is taken after a trial step, which needs training rows of all tasks.
        update_every: as the recipe says; by default 1 % of the steps, at least 25.
        rows_per_task: as the recipe says, of all tasks at once; by default what fits the share.
    """
    every = update_every or max(25, math.ceil(steps / 100))
    fixed = READING_THE_BACKWARD if estimator == "in_backward" else 0.0
    passes = 1.0 + PASS_OVER_OWN_ROWS[estimator] + (1.0 if look_ahead else 0.0)
    affordable = max(0.0, SHARE * every - fixed) * rows_per_step / passes
    rows = rows_per_task or min(MOST_ROWS, max(LEAST_ROWS, int(affordable / num_tasks)))
    tasks = num_tasks
    if rows_per_task is None and not look_ahead:
        tasks = min(num_tasks, max(LEAST_TASKS, int(affordable / rows)))
    cost = fixed + passes * rows * tasks / rows_per_step
    return MetaSchedule(every, rows, tasks, cost / every)
