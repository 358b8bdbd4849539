"""How often meta steps run and how much they read, so that they cost a few per cent of a run,
whatever the number of tasks (ours).

With n steps from one meta step to the next, meta steps take their cost over n of the run's time. So
n is chosen first, then the number of rows is what the share leaves, then tasks take turns if these
rows are too few for all K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapt_axolotl.metagradient.estimator import Estimator

# Of the time of a run that the meta steps may take.
SHARE = 0.04

# Fewer rows of a task than this say nothing about it; more are not worth their time.
LEAST_ROWS, MOST_ROWS = 2, 4

# Turns shorter than this make v that of a handful of tasks.
LEAST_TASKS = 4


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


def meta_step_cost(
    estimator: Estimator, *, look_ahead: bool, validation: float, training: float, step: float
) -> float:
    """What a meta step costs, in training steps.

    Validation rows take a forward and a backward, as training does; so do training rows before a
    look-ahead. The estimator's own cost was measured; see `Estimator.cost`.

    Args:
        estimator: of the task scores.
        look_ahead: whether v is taken after a trial step.
        validation: validation rows that it reads (or their tokens).
        training: training rows of its own that it would read, in the same unit.
        step: those of a training step, in the same unit.
    """
    scores = estimator.cost * (training / step if estimator.own_rows else 1.0)
    return (validation + (training if look_ahead else 0.0)) / step + scores


def meta_schedule(
    *,
    steps: int,
    rows_per_step: float,
    num_tasks: int,
    estimator: Estimator,
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

    def cost(rows: float) -> float:
        return meta_step_cost(
            estimator, look_ahead=look_ahead, validation=rows, training=rows, step=rows_per_step
        )

    every = update_every or max(25, math.ceil(steps / 100))
    affordable = max(0.0, (SHARE * every - cost(0)) / (cost(1) - cost(0)))
    rows = rows_per_task or min(MOST_ROWS, max(LEAST_ROWS, int(affordable / num_tasks)))
    tasks = num_tasks
    if rows_per_task is None and not look_ahead:
        tasks = min(num_tasks, max(LEAST_TASKS, int(affordable / rows)))
    return MetaSchedule(every, rows, tasks, cost(rows * tasks) / every)
