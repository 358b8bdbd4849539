"""When and how meta steps run, and on how many rows: what a recipe leaves to its overhead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.candidates import candidate_estimators
from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.meta_step.schedule import fall_row_cost, fall_schedule, meta_schedule
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.run.plan import Estimate

if TYPE_CHECKING:
    from adapt_axolotl.integration.trainer import AdaptTrainer

LOG = get_logger("axolotl.adapt")


def meta_settings(
    spec: TrainingSpec, estimate: Estimate, validation: TaskPools, trainer: AdaptTrainer | None
) -> MetaSettings | FallSettings | CurveSettings:
    """When and how meta steps run. Without a trainer, before there is a model, the estimator of
    gradient products is the one that nothing in the recipe speaks against."""
    num_tasks = len(set(spec.adapt.train_tasks))  # entries may share a task
    measure = spec.adapt.learned.measure
    if measure == "training_losses":
        return CurveSettings(float(spec.adapt.learned.start_after))
    if measure == "loss_falls":
        return fall_settings(spec, estimate, validation)
    return product_settings(spec, estimate, num_tasks, trainer)


def fall_settings(spec: TrainingSpec, estimate: Estimate, validation: TaskPools) -> FallSettings:
    """When and on what losses are measured for their falls."""
    learned = spec.adapt.learned
    schedule = fall_schedule(
        steps=estimate.steps,
        row_cost=fall_row_cost(
            validation,
            step_tokens=estimate.step_tokens,
            step_supervised=estimate.step_supervised if spec.adapt.charge_meta_tokens else None,
        ),
        overhead=float(learned.overhead),
        start_after=float(learned.start_after),
        update_every=learned.update_every,
        rows_per_task=learned.rows_per_task,
    )
    LOG.info(
        f"learned mixture: about {estimate.steps} optimizer steps, {len(schedule.steps)} meta "
        f"steps, which measure {schedule.rows_per_task} validation rows of each of "
        f"{len(validation.tasks)} tasks"
    )
    return FallSettings(schedule.steps, schedule.rows_per_task, spec.seed)


def product_settings(
    spec: TrainingSpec, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> MetaSettings:
    """When and how gradient products are measured."""
    learned = spec.adapt.learned
    estimators = candidate_estimators(spec, estimate, num_tasks, trainer)
    # Training rows of its own are of all tasks, validation rows of those that count.
    own_rows = estimators[0].own_rows or learned.look_ahead
    schedule = meta_schedule(
        steps=estimate.steps,
        rows_per_step=estimate.rows_per_step,
        num_tasks=num_tasks if own_rows else len(spec.adapt.counted) or num_tasks,
        estimator=estimators[0],
        look_ahead=learned.look_ahead,
        overhead=float(learned.overhead),
        update_every=learned.update_every,
        rows_per_task=learned.rows_per_task,
    )
    LOG.info(
        f"learned mixture: about {estimate.steps} optimizer steps, a meta step every "
        f"{schedule.update_every} on {schedule.rows_per_task} validation rows of each of "
        f"{schedule.tasks_at_once} tasks, task scores by {estimators[0].name}"
    )
    return MetaSettings(
        update_every=schedule.update_every,
        start_after=float(learned.start_after),
        rows_per_task=schedule.rows_per_task,
        tasks_at_once=schedule.tasks_at_once,
        look_ahead=learned.look_ahead,
        estimators=estimators,
        seed=spec.seed,
        read_steps=schedule.read_steps,
        half_precision=trainer is not None and (trainer.args.bf16 or trainer.args.fp16),
        float16=trainer is not None and trainer.args.fp16,
        fused_loss=spec.fused_loss,
    )
