"""How often meta steps run and how much they read, so that they cost the share of a run's time that
the recipe allows, whatever the number of tasks (ours).

Falls of losses: rows are spread over nine meta steps, or fewer where they would be too few of each
task. Gradient products: the noise of <v, grad L_k> is mostly that of its two factors together, so
it falls with the product of the rows on either side, and few thorough meta steps say more than many
hasty ones: of what a meta step may cost, half goes into the validation rows of v, half into
training steps that are read along it. Where rows are too few for all tasks they take turns, and the
interval then follows from the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.metagradient.estimator import Estimator

# Fewer rows of a task than this say nothing about it.
LEAST_ROWS = 2

# Gradient products: meta steps that a run is to have at least and at most, and how many steps apart
# they are where the run is between.
LEAST_PRODUCTS, MOST_PRODUCTS = 12, 50
INTERVAL = 60

# Of a meta step: validation rows of a task, and training steps that are read along one v, which
# drifts away meanwhile.
MOST_ROWS = 64
MOST_READ = 8

# Turns shorter than this make v that of a handful of tasks.
LEAST_TASKS = 4

# Falls: so many measurements at most and at least, of so many rows of each task. The last one is
# where so much of the run is done: later ones could not change much.
MOST_FALLS, LEAST_FALLS = 9, 4
LEAST_ROWS_OF_A_FALL, MOST_ROWS_OF_A_FALL = 4, 64
LAST_FALL = 0.7

# A forward is about a third of a training step on the same rows.
FORWARD = 1 / 3


@dataclass(frozen=True)
class FallSchedule:
    """When losses are measured for their falls.

    Attributes:
        steps: optimizer steps, from 0; none where the share is too small for the number of tasks.
        rows_per_task: new validation rows of each task; those of last time are measured again.
        share: of the run that this is expected to take.
    """

    steps: tuple[int, ...]
    rows_per_task: int
    share: float


def fall_schedule(
    *,
    steps: int,
    row_cost: float,
    overhead: float,
    start_after: float,
    update_every: int | None = None,
    rows_per_task: int | None = None,
) -> FallSchedule:
    """The schedule of a run.

    Args:
        steps: optimizer steps of the run, about.
        row_cost: of one validation row of each task, in training steps: see `fall_row_cost`.
        overhead: share of the run.
        start_after: share of the run before the first measurement.
        update_every: optimizer steps from one to the next, as the recipe says.
        rows_per_task: as the recipe says.
    """
    first, last = math.ceil(start_after * steps), int(LAST_FALL * steps)
    affordable = overhead * steps / row_cost
    if update_every is not None:
        at = np.arange(first, steps, update_every)
    else:
        least = rows_per_task or LEAST_ROWS_OF_A_FALL
        if affordable < (2 * LEAST_FALLS - 1) * least and rows_per_task is None:
            least = LEAST_ROWS
        times = min(MOST_FALLS, int(affordable / least + 1) // 2, last - first)
        if times < LEAST_FALLS:
            return FallSchedule((), least, 0.0)
        at = np.unique(np.linspace(first, last, times).astype(int))
    passes = max(1, 2 * len(at) - 1)  # over new rows, and again over all but the last
    rows = rows_per_task or int(np.clip(affordable / passes, LEAST_ROWS, MOST_ROWS_OF_A_FALL))
    return FallSchedule(tuple(at.tolist()), rows, passes * rows * row_cost / steps)


def fall_row_cost(
    validation: TaskPools, *, step_tokens: float, step_supervised: float | None
) -> float:
    """What one validation row of each task costs, in training steps: a forward of its tokens, or,
    where it is more, its supervised tokens out of the budget.

    Args:
        validation: the rows.
        step_tokens: tokens of an optimizer step.
        step_supervised: supervised tokens of one; None where those of meta steps are not charged to
            the budget.
    """
    rows = validation.rows_of_task

    def of_each(values: np.ndarray) -> float:
        return float((validation.by_task(values) / rows).sum())

    time = FORWARD * of_each(validation.lengths) / step_tokens
    if step_supervised is None:
        return time
    return max(time, of_each(validation.supervised_tokens) / step_supervised)


@dataclass(frozen=True)
class MetaSchedule:
    """When meta steps with gradient products run and what they read.

    Attributes:
        update_every: optimizer steps from one to the next.
        rows_per_task: validation rows of each task that is read.
        tasks_at_once: tasks that are read, at most.
        read_steps: training steps that are read along one v.
        share: of the run's time that this is expected to take.
    """

    update_every: int
    rows_per_task: int
    tasks_at_once: int
    read_steps: int
    share: float


def meta_step_cost(
    estimator: Estimator,
    *,
    look_ahead: bool,
    validation: float,
    training: float,
    step: float,
    read_steps: int,
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
        read_steps: training steps that are read, where it has no rows of its own.
    """
    scores = estimator.cost * (training / step if estimator.own_rows else read_steps)
    return (validation + (training if look_ahead else 0.0)) / step + scores


def meta_schedule(
    *,
    steps: int,
    rows_per_step: float,
    num_tasks: int,
    estimator: Estimator,
    look_ahead: bool,
    overhead: float,
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
        overhead: share of the run's time.
        update_every: as the recipe says; by default what the overhead allows.
        rows_per_task: as the recipe says, of all tasks at once; by default what fits the share.
    """

    # With it the rows are chosen; without the recipe's own the interval then follows from them.
    wanted = min(MOST_PRODUCTS, max(LEAST_PRODUCTS, steps // INTERVAL))
    every = update_every or max(25, math.ceil(steps / wanted))
    read = 1
    if not estimator.own_rows and not look_ahead:
        read = min(MOST_READ, every, max(1, int(overhead * every / 2 / estimator.cost)))

    def cost(rows: float) -> float:
        return meta_step_cost(
            estimator,
            look_ahead=look_ahead,
            validation=rows,
            training=rows,
            step=rows_per_step,
            read_steps=read,
        )

    affordable = max(0.0, (overhead * every - cost(0)) / (cost(1) - cost(0)))
    rows = rows_per_task or min(MOST_ROWS, max(LEAST_ROWS, int(affordable / num_tasks)))
    tasks = num_tasks
    if rows_per_task is None and not look_ahead:
        tasks = min(num_tasks, max(LEAST_TASKS, int(affordable / rows)))
    if update_every is None:
        every = max(read, math.ceil(cost(rows * tasks) / overhead))
    return MetaSchedule(every, rows, tasks, read, cost(rows * tasks) / every)
