"""Which estimators of gradient products a run tries: those that nothing known before it speaks
against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.estimators import ESTIMATORS, estimator
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, InBackward
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES
from adapt_axolotl.run.plan import Estimate

if TYPE_CHECKING:
    from adapt_axolotl.integration.trainer import AdaptTrainer

LOG = get_logger("axolotl.adapt")

# With fewer training rows a task in a step, the step says too little about the tasks.
ROWS_PER_TASK_IN_A_STEP = 1.0


def candidate_estimators(
    spec: TrainingSpec, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> list[Estimator]:
    """The estimators to try in order; the last one, the reference, always fits."""
    obstacles = {
        one.name: obstacle
        for one in ESTIMATORS
        if (obstacle := obstacle_to(one, spec, estimate, num_tasks, trainer)) is not None
    }
    wanted = spec.adapt.learned.estimator
    if wanted == "auto":
        for reason in dict.fromkeys(obstacles.values()):
            names = " and ".join(name for name, why in obstacles.items() if why == reason)
            LOG.info(f"task scores: not {names}, because {reason}")
        return [one for one in ESTIMATORS if one.name not in obstacles]
    chosen = estimator(wanted)
    after = [one for one in ESTIMATORS[ESTIMATORS.index(chosen) + 1 :] if one.name not in obstacles]
    if wanted in obstacles:
        LOG.warning(
            f"adapt.learned.estimator: {wanted}, as the recipe says, although "
            f"{obstacles[wanted]}; auto would take {after[0].name}"
        )
    return [chosen, *after]


def obstacle_to(
    one: Estimator,
    spec: TrainingSpec,
    estimate: Estimate,
    num_tasks: int,
    trainer: AdaptTrainer | None,
) -> str | None:
    """Why this estimator cannot measure here, or None."""
    if one.own_rows:
        return None
    return (
        _obstacle_to_reading(spec, estimate, num_tasks, trainer)
        or (_obstacle_to_hooks(spec, trainer) if one is IN_BACKWARD else None)
        or (_obstacle_to_splitting(trainer) if one is SPLIT_BATCHES else None)
    )


def _obstacle_to_reading(
    spec: TrainingSpec, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> str | None:
    """Why the gradients of training do not tell the tasks apart."""
    if estimate.rows_per_step < ROWS_PER_TASK_IN_A_STEP * num_tasks:
        return (
            f"an optimizer step holds about {estimate.rows_per_step:.0f} rows for {num_tasks} "
            "tasks, too few of each"
        )
    other_loss = "the training loss is not the plain token cross-entropy"
    if spec.weighs_tokens:
        return other_loss
    if trainer is None:
        return None
    if trainer.compute_loss_func is not None or trainer.label_smoother is not None:
        return other_loss
    if getattr(trainer.model.config, "output_router_logits", False):
        return "the router's auxiliary loss is part of the training loss"
    return None


def _obstacle_to_hooks(spec: TrainingSpec, trainer: AdaptTrainer | None) -> str | None:
    """Why the training backward cannot be read off the model's modules."""
    if spec.compiled and spec.flex_attention:
        return "flex attention that is not compiled holds all of its scores at once"
    if trainer is None:
        return None
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    uncovered = InBackward.uncovered(trainer.model, parameters)
    if uncovered:
        return f"it has no rule for {', '.join(uncovered[:3])}"
    return None


def _obstacle_to_splitting(trainer: AdaptTrainer | None) -> str | None:
    """Why more backwards than micro-batches are another training."""
    if trainer is None:
        return None
    optimizer = str(getattr(trainer.args.optim, "value", trainer.args.optim))
    if "lomo" in optimizer or "layerwise" in optimizer:
        return f"optimizer: {optimizer} steps within each backward"
    return None
