"""Put a run together from Axolotl's config, the loaded tasks and the trainer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from adapt_axolotl.config import AdaptConfig
from adapt_axolotl.meta_schedule import meta_schedule
from adapt_axolotl.meta_step import MetaSettings, MetaStep
from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives import objective
from adapt_axolotl.mixture.static import static_proportions
from adapt_axolotl.probe import ProbeRows
from adapt_axolotl.provenance import provenance
from adapt_axolotl.ranks import Ranks
from adapt_axolotl.recipe import run_seed
from adapt_axolotl.record import RunDirectory
from adapt_axolotl.run import AdaptRun
from adapt_axolotl.run_plan import Estimate, RunPlan
from adapt_axolotl.sampling import BlockShape
from adapt_axolotl.tasks import Tasks
from adapt_axolotl.validation import validation_losses

if TYPE_CHECKING:
    from adapt_axolotl.trainer import AdaptTrainer

LOG = get_logger("axolotl.adapt")

# Fewer training rows a task than this in a step, and a step says too little about the tasks.
ROWS_PER_TASK_IN_BACKWARD = 1.0

# Cheapest first; each falls back to those after it.
ESTIMATORS = ("in_backward", "finite_difference", "per_task")


def plan_run(cfg: DictDefault, adapt: AdaptConfig, tasks: Tasks) -> RunPlan:
    """Everything about the draws that is known before the model is loaded."""
    pools = tasks.pools
    available = pools.available_tokens if adapt.share_unit == "tokens" else pools.rows_of_task
    return RunPlan(
        pools=pools,
        budget=adapt.budget.resolve(int(pools.available_tokens.sum())),
        shape=block_shape(cfg),
        unit=adapt.share_unit,
        ordered=adapt.mixture == "round_robin",
        seed=run_seed(cfg),
        max_repeats=adapt.max_repeats,
        charge_meta_tokens=adapt.charge_meta_tokens,
        proportions=static_proportions(
            "uniform" if adapt.mixture == "learned" else adapt.mixture,
            available.tolist(),
            temperature=adapt.temperature,
            weights=adapt.weights,
            tasks=pools.tasks,
        ),
        max_steps=cfg.max_steps or None,
    )


def block_shape(cfg: DictDefault) -> BlockShape:
    """An optimizer step as Axolotl lays it out, packed the way the attention kernel needs."""
    micro_batches = (cfg.gradient_accumulation_steps or 1) * launched_processes()
    rows = cfg.micro_batch_size or 1
    if not cfg.sample_packing:
        return BlockShape(micro_batches, rows)
    real_batches = cfg.multipack_real_batches
    if real_batches is None:
        real_batches = not cfg.attn_supports_packing
    if real_batches:
        return BlockShape(micro_batches, rows, bin_tokens=cfg.sequence_len)
    return BlockShape(micro_batches, 1, bin_tokens=rows * cfg.sequence_len)


def launched_processes() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_processes(launched: int, training_together: int) -> None:
    """Every launched process must be a rank of one run.

    Raises:
        ValueError: the launcher's processes do not train together.
    """
    if launched != training_together:
        raise ValueError(
            f"the launcher started {launched} processes but this one trains with "
            f"{training_together}: they would be independent runs into one output_dir; on CPU set "
            "ACCELERATE_USE_CPU=1 and ACCELERATE_TORCH_DEVICE=cpu, on GPU check that every "
            "process sees its device"
        )


def assemble_run(
    cfg: DictDefault,
    adapt: AdaptConfig,
    tasks: Tasks,
    plan: RunPlan,
    trainer: AdaptTrainer,
    recipe: str,
) -> AdaptRun:
    """The run that `trainer` serves; `recipe` is the text that its records keep."""
    check_processes(launched_processes(), trainer.args.world_size)
    ranks = Ranks(trainer.args.process_index, trainer.args.world_size)
    tokenizer = trainer.processing_class
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def probe(rows: Any, pools: Any) -> ProbeRows:
        return ProbeRows(
            rows,
            pools,
            pad_token_id=pad,
            micro_batch_rows=max(1, trainer.args.per_device_eval_batch_size),
            device=trainer.args.device,
        )

    validation = probe(tasks.validation, tasks.validation_pools)
    meta = None
    if adapt.mixture == "learned":
        meta = MetaStep(
            learned_mixture(adapt, tasks.names),
            trainer.model,
            probe(tasks.train, tasks.pools),
            validation,
            meta_settings(cfg, adapt, plan.estimate(), trainer),
            ranks,
            lambda: trainer.optimizer.param_groups[0]["lr"],
            lambda: whole_parameters(trainer),
        )

    def measure(rows_per_task: int | None) -> np.ndarray:
        rows = validation.sample(rows_per_task, seed=plan.seed)
        with whole_parameters(trainer):
            return validation_losses(trainer.model, validation, rows, len(tasks.names), ranks)

    directory = None
    if trainer.args.process_index == 0:
        config = {
            "recipe": cfg.to_dict(),
            "seed": plan.seed,
            "mixture": adapt.mixture,
            "tasks": list(tasks.names),
            "processes": ranks.count,
            **provenance(Path.cwd()),
        }
        directory = RunDirectory(Path(trainer.args.output_dir) / "adapt", config, recipe)
    return AdaptRun(plan, meta, measure, directory)


def whole_parameters(trainer: AdaptTrainer) -> contextlib.AbstractContextManager[Any]:
    """A context in which every process holds the whole parameters: under ZeRO-3 they are gathered
    once, instead of layer by layer in step with the other processes, whose rows are others."""
    if not is_deepspeed_zero3_enabled():
        return contextlib.nullcontext()
    from trl.models.utils import unwrap_model_for_generation

    return unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator)


def learned_mixture(adapt: AdaptConfig, names: Sequence[str]) -> LearnedMixture:
    """The learner that the `adapt:` block describes."""
    learned = adapt.learned
    references = learned.reference_losses
    return LearnedMixture(
        names,
        objective(
            learned.objective,
            beta=learned.beta,
            reference_losses=None if references is None else [references[name] for name in names],
        ),
        step_size=learned.step_size,
        entropy_weight=learned.entropy_weight,
        floor=adapt.floor,
    )


def meta_settings(
    cfg: DictDefault, adapt: AdaptConfig, estimate: Estimate, trainer: AdaptTrainer | None
) -> MetaSettings:
    """When and how meta steps run. Without a trainer, before there is a model, the estimator is the
    one that nothing in the recipe speaks against."""
    learned = adapt.learned
    num_tasks = len(set(adapt.train_tasks))  # entries may share a task
    estimators = choose_estimators(cfg, adapt, estimate, num_tasks, trainer)
    schedule = meta_schedule(
        steps=estimate.steps,
        rows_per_step=estimate.rows_per_step,
        num_tasks=num_tasks,
        estimator=estimators[0],
        look_ahead=learned.look_ahead,
        update_every=learned.update_every,
        rows_per_task=learned.rows_per_task,
    )
    LOG.info(
        f"learned mixture: about {estimate.steps} optimizer steps, a meta step every "
        f"{schedule.update_every} on {schedule.rows_per_task} validation rows of each of "
        f"{schedule.tasks_at_once} tasks, task scores by {estimators[0]}"
    )
    return MetaSettings(
        update_every=schedule.update_every,
        start_after=float(learned.start_after),
        rows_per_task=schedule.rows_per_task,
        tasks_at_once=schedule.tasks_at_once,
        look_ahead=learned.look_ahead,
        estimators=estimators,
        seed=run_seed(cfg),
        half_precision=trainer is not None and (trainer.args.bf16 or trainer.args.fp16),
    )


def choose_estimators(
    cfg: DictDefault,
    adapt: AdaptConfig,
    estimate: Estimate,
    num_tasks: int,
    trainer: AdaptTrainer | None,
) -> list[str]:
    """The estimators to try in order; the last one, the reference, always works."""
    chosen = adapt.learned.estimator
    if chosen in ("auto", "in_backward"):
        obstacle = in_backward_obstacle(cfg, estimate, num_tasks, trainer)
        if obstacle is None:
            chosen = "in_backward"
        elif chosen == "auto":
            LOG.info(f"task scores: not in_backward, because {obstacle}")
            chosen = "finite_difference"
        else:
            LOG.warning(
                f"adapt.learned.estimator: in_backward, as the recipe says, although {obstacle}; "
                "auto would take finite_difference"
            )
    return list(ESTIMATORS[ESTIMATORS.index(chosen) :])


def in_backward_obstacle(
    cfg: DictDefault, estimate: Estimate, num_tasks: int, trainer: AdaptTrainer | None
) -> str | None:
    """Why the training backward cannot be read here, or None."""
    if estimate.rows_per_step < ROWS_PER_TASK_IN_BACKWARD * num_tasks:
        return (
            f"an optimizer step holds about {estimate.rows_per_step:.0f} rows for {num_tasks} "
            "tasks, too few of each"
        )
    if cfg.torch_compile or cfg.attn_implementation == "flex_attention":
        return "compiled layers may bypass its hooks"
    if trainer is None:
        return None
    if trainer.compute_loss_func is not None or trainer.label_smoother is not None:
        return "the training loss is not the plain token cross-entropy"
    if getattr(trainer.model.config, "output_router_logits", False):
        return "the router's auxiliary loss is part of the training loss"
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    uncovered = InBackward.uncovered(trainer.model, parameters)
    if uncovered:
        return f"it has no rule for {', '.join(uncovered[:3])}"
    return None
