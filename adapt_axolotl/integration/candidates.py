"""Which estimators of gradient products a run tries: those that nothing known before it speaks
against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapt_axolotl.integration.batch_layout import launched_processes
from adapt_axolotl.integration.compat import get_logger, is_deepspeed_zero3_enabled
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.estimators import ESTIMATORS, estimator
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.left_out import MOST, without_rule
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.router_loss import has_router_loss
from adapt_axolotl.metagradient.sharded import trained_parameters
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES
from adapt_axolotl.run.plan import Estimate

if TYPE_CHECKING:
    from adapt_axolotl.integration.compat import HfDeepSpeedConfig
    from adapt_axolotl.integration.trainer import AdaptTrainer

LOG = get_logger("axolotl.adapt")

# With fewer training rows a task in a step, the step says too little about the tasks.
ROWS_PER_TASK_IN_A_STEP = 1.0

# Of one task in a micro-batch. On fewer, a forward costs much as one on more: on a CPU, parts of 32
# tokens cost 1.7 of a training step, those of 128 .4 (docs/cost.md). A GPU, which was not measured,
# has more units to keep busy.
LEAST_TOKENS_OF_A_PART = 512


def candidate_estimators(
    spec: TrainingSpec, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> list[Estimator]:
    """The estimators to try in order; the last one, the reference, always fits.

    Raises:
        ValueError: the recipe asks for micro-batches of one task where they would train something
            else.
    """
    obstacles = {
        one.name: obstacle
        for one in ESTIMATORS
        if (obstacle := obstacle_to(one, spec, estimate, num_tasks, trainer)) is not None
    }
    order = list(ESTIMATORS)
    dear = _splitting_is_dear(spec, estimate, num_tasks, trainer)
    if dear is not None:
        order.remove(SPLIT_BATCHES)
        order.insert(order.index(FINITE_DIFFERENCE) + 1, SPLIT_BATCHES)
    wanted = spec.adapt.learned.estimator
    fitting = [one for one in order if one.name not in obstacles]
    if wanted == "auto":
        for reason in dict.fromkeys(obstacles.values()):
            names = " and ".join(name for name, why in obstacles.items() if why == reason)
            LOG.info(f"task scores: not {names}, because {reason}")
        if dear is not None and fitting[:2] == [FINITE_DIFFERENCE, SPLIT_BATCHES]:
            LOG.info(f"task scores: {fitting[1].name} after {fitting[0].name}, because {dear}")
        return fitting
    chosen = estimator(wanted)
    if chosen is PER_TASK:
        return [PER_TASK]
    other_training = _other_loss(spec, trainer) or _obstacle_to_splitting(trainer)
    if chosen is SPLIT_BATCHES and other_training is not None:
        raise ValueError(
            f"adapt.learned.estimator: {wanted} would change the training, because "
            f"{other_training}; set estimator: auto"
        )
    others = [one for one in fitting if one not in (chosen, IN_BACKWARD)]
    if wanted in obstacles:
        LOG.warning(
            f"adapt.learned.estimator: {wanted}, as the recipe says, although "
            f"{obstacles[wanted]}; auto would take {fitting[0].name}"
        )
    return [chosen, *others]


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
    return _other_loss(spec, trainer)


def _other_loss(spec: TrainingSpec, trainer: AdaptTrainer | None) -> str | None:
    """Why the training loss is not a sum over tokens, each of one row."""
    other_loss = "the training loss is not the plain token cross-entropy"
    if spec.weighs_tokens:
        return other_loss
    if trainer is None:
        return None
    if trainer.compute_loss_func is not None or trainer.label_smoother is not None:
        return other_loss
    return None


def _obstacle_to_hooks(spec: TrainingSpec, trainer: AdaptTrainer | None) -> str | None:
    """Why the training backward cannot be read off the model's modules."""
    if spec.compiled and spec.flex_attention:
        return "flex attention that is not compiled holds all of its scores at once"
    if trainer is None:
        return None
    without = without_rule(trainer.model, trained_parameters(trainer.model))
    if without.share > MOST:
        return (
            f"it has no rule for {', '.join(without.modules[:3])}; modules without one have "
            f"{without.share:.1%} of the trained parameters, of which it leaves out at most "
            f"{MOST:.0%}"
        )
    return None


def _obstacle_to_splitting(trainer: AdaptTrainer | None) -> str | None:
    """Why backwards of the rows of one task each are another training."""
    if trainer is None:
        return None
    if has_router_loss(trainer.model):
        return "the router's auxiliary loss is no sum over rows"
    optimizer = str(getattr(trainer.args.optim, "value", trainer.args.optim))
    if "lomo" in optimizer or "layerwise" in optimizer:
        return f"optimizer: {optimizer} steps within each backward"
    deepspeed_config = getattr(trainer.args, "hf_deepspeed_config", None)
    if deepspeed_config is not None and _keeps_only_the_last_gradient(deepspeed_config):
        return (
            "deepspeed: zero_optimization.offload_optimizer with stage 2 adds up no gradients "
            "at gradient_accumulation_steps: 1"
        )
    return None


def _keeps_only_the_last_gradient(deepspeed_config: HfDeepSpeedConfig) -> bool:
    """Whether the optimizer gets the gradient of the last backward before its step alone: stage 2
    lets go of each on the device, and adds them up on the CPU only where it expects several."""
    zero = {
        key: deepspeed_config.get_value(f"zero_optimization.{key}")
        for key in ("stage", "offload_optimizer.device", "cpu_offload")
    }
    offloads = zero["offload_optimizer.device"] not in (None, "none") or zero["cpu_offload"]
    steps = deepspeed_config.get_value("gradient_accumulation_steps")
    return zero["stage"] == 2 and bool(offloads) and steps in (None, 1)


def _splitting_is_dear(
    spec: TrainingSpec, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> str | None:
    """Why micro-batches of one task would cost more here than two forwards on other rows, or
    None."""
    if getattr(trainer, "is_fsdp_enabled", False) or is_deepspeed_zero3_enabled():
        return "parameters that are sharded are gathered for each task"
    processes = launched_processes() if trainer is None else trainer.args.world_size
    micro_batches = spec.gradient_accumulation_steps * processes
    rows = estimate.rows_per_step / micro_batches
    tasks = num_tasks * (1 - (1 - 1 / num_tasks) ** rows)  # of so many drawn with equal shares
    tokens = estimate.step_tokens / micro_batches / tasks
    if tokens < LEAST_TOKENS_OF_A_PART:
        return f"a micro-batch holds about {tokens:.0f} tokens of a task"
    return None
