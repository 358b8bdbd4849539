"""Build a run from a recipe's spec, the loaded tasks and the trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.distributed.fsdp import CPUOffloadPolicy

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.integration.batch_layout import (
    block_shape,
    check_processes,
    launched_processes,
)
from adapt_axolotl.integration.compat import is_deepspeed_zero3_enabled
from adapt_axolotl.integration.device_clock import now
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.meta_settings import meta_settings
from adapt_axolotl.integration.plain_forms import plain_forms
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.integration.zero3 import (
    measured_in_parts,
    refuse_experts_in_lists,
    refuse_other_parts,
)
from adapt_axolotl.meta_step.falls import FallLearner, FallSettings
from adapt_axolotl.meta_step.held_out import HeldOut, HeldOutRows
from adapt_axolotl.meta_step.learner import MetaLearner, MetaSettings
from adapt_axolotl.meta_step.learning import Learner
from adapt_axolotl.meta_step.loss_learner import LossLearner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.recipe.earlier_run import earlier_run, warn_of_other_rows
from adapt_axolotl.recipe.keep import spent_on_kept
from adapt_axolotl.recipe.refusals import fsdp1, offloaded_parameters
from adapt_axolotl.records.provenance import provenance
from adapt_axolotl.records.write import RunDirectory
from adapt_axolotl.run.described import initial_proportions, learned_mixture, quotas, schedule
from adapt_axolotl.run.methods import loss_mixture
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun

if TYPE_CHECKING:
    from adapt_axolotl.integration.trainer import AdaptTrainer


def run_plan(spec: TrainingSpec, tasks: Tasks, processes: int | None = None) -> RunPlan:
    """Everything about the draws that is known before the model is loaded.

    Args:
        spec: the recipe.
        tasks: its data.
        processes: that train together; None for those that were launched.
    """
    adapt, pools = spec.adapt, tasks.pools
    budget = adapt.budget.resolve(int(pools.available_tokens.sum()))
    earlier = earlier_run(adapt, trained_names(pools))
    warn_of_other_rows(earlier, tasks.digest)
    changes = schedule(adapt, pools, budget, earlier, spec.seed)
    return RunPlan(
        pools=pools,
        budget=budget,
        shape=block_shape(spec, processes or launched_processes()),
        unit=adapt.share_unit,
        ordered=adapt.mixture == "round_robin",
        seed=spec.seed,
        max_repeats=adapt.max_repeats,
        charge_meta_tokens=adapt.charge_meta_tokens,
        initial=initial_proportions(adapt, pools, budget) if changes is None else changes.at(0.0),
        max_steps=spec.max_steps,
        quotas=quotas(adapt, pools, budget),
        schedule=changes,
        learn_rows=adapt.rows == "learned",
        data_digest=tasks.digest,
        tokens_spent_before=(0 if earlier is None else earlier.tokens_spent) + spent_on_kept(adapt),
    )


def trained_names(pools: TaskPools) -> list[str]:
    """Of the tasks that have training rows."""
    return [name for name, rows in zip(pools.tasks, pools.rows_of_task, strict=True) if rows]


def build_run(
    cfg: Any,
    spec: TrainingSpec,
    tasks: Tasks,
    plan: RunPlan,
    trainer: AdaptTrainer,
    recipe: str,
) -> AdaptRun:
    """The run that `trainer` serves; `recipe` is the text that its records keep."""
    check_processes(launched_processes(), trainer.args.world_size)
    _refuse_by_accelerate(spec, trainer)
    deepspeed_config = getattr(trainer.args, "hf_deepspeed_config", None)
    if spec.adapt.takes_gradient_products and deepspeed_config is not None:
        refuse_other_parts(deepspeed_config)
        if is_deepspeed_zero3_enabled() and trainer.args.world_size > 1:
            refuse_experts_in_lists(trainer.model)
    ranks = Ranks(trainer.args.process_index, trainer.args.world_size)
    tokenizer = trainer.processing_class
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def measuring_rows(rows: Any, pools: Any) -> MeasuringRows:
        return MeasuringRows(
            rows,
            pools,
            pad_token_id=pad,
            micro_batch_tokens=micro_batch_tokens(spec, tasks.pools),
            device=trainer.args.device,
        )

    @contextlib.contextmanager
    def measuring() -> Iterator[None]:
        with measured_in_parts(trainer.model_wrapped), evaluation_mode(trainer.model):
            yield

    validation = measuring_rows(tasks.validation, tasks.validation_pools)

    def learning_rate() -> float:
        return float(trainer.optimizer.param_groups[0]["lr"])

    learner = make_learner(
        spec,
        plan,
        tasks.validation_pools,
        trainer.model,
        measuring_rows(tasks.train, tasks.pools),
        validation,
        ranks,
        trainer.args.device,
        learning_rate,
        measuring,
        trainer,
    )

    def measure(rows_per_task: int) -> np.ndarray:
        rows = validation.sample(rows_per_task, seed=plan.seed)
        with measuring():
            return validation_losses(trainer.model, validation, rows, len(tasks.names), ranks)

    directory = None
    if trainer.args.process_index == 0:
        config = {
            "recipe": cfg.to_dict(),
            "seed": plan.seed,
            "mixture": spec.adapt.mixture,
            "budget": plan.budget,
            "data_digest": plan.data_digest,
            "tasks": list(tasks.names),
            "processes": ranks.count,
            **provenance(Path.cwd()),
        }
        directory = RunDirectory(Path(trainer.args.output_dir), config, recipe)
    return AdaptRun(plan, learner, measure, directory, trainer.sum_over_ranks, now)


def _refuse_by_accelerate(spec: TrainingSpec, trainer: AdaptTrainer) -> None:
    """The recipe was looked through before; accelerate's own config can turn these on too."""
    if not trainer.is_fsdp_enabled:
        return
    if not trainer.accelerator.is_fsdp2:
        raise ValueError(fsdp1("accelerate's config, --use_fsdp"))
    offload = trainer.accelerator.state.fsdp_plugin.cpu_offload
    if spec.adapt.takes_gradient_products and isinstance(offload, CPUOffloadPolicy):
        raise ValueError(offloaded_parameters("accelerate's config, --fsdp_offload_params"))


def make_learner(
    spec: TrainingSpec,
    plan: RunPlan,
    held_out: TaskPools,
    model: torch.nn.Module,
    training: MeasuringRows,
    validation: MeasuringRows,
    ranks: Ranks,
    device: torch.device,
    learning_rate: Callable[[], float],
    measuring: Callable[[], contextlib.AbstractContextManager[Any]],
    trainer: AdaptTrainer | None = None,
) -> Learner | None:
    """What moves the mixture; None where nothing does.

    Args:
        spec: the recipe.
        plan: what is drawn.
        held_out: the validation rows.
        model: the trained module.
        training: rows for measurements, as `validation`.
        validation: rows of the objective.
        ranks: the processes of the run.
        device: of the model.
        learning_rate: gives the one in force.
        measuring: a context in which the model can be measured.
        trainer: as in `meta_settings`.
    """
    adapt, names = spec.adapt, plan.pools.tasks
    if adapt.follows_losses:
        earlier = earlier_run(adapt, trained_names(plan.pools))
        step = plan.shape.micro_batches
        follows = loss_mixture(adapt, names, plan.initial, earlier, step)
        return LossLearner(follows, ranks, device)
    if not adapt.takes_meta_steps:
        return None
    settings = meta_settings(spec, plan.estimate(), held_out, trainer)
    # What a move of the mixture stands for.
    steps = settings.update_every if isinstance(settings, MetaSettings) else 1
    mixture = learned_mixture(adapt, plan.pools, plan.initial, lambda: steps * learning_rate())
    if isinstance(settings, CurveSettings):
        which = HeldOutRows(held_out, plan.pools, plan.seed)
        measured = HeldOut(model, validation, which, ranks, measuring)
        return CurveLearner(mixture, settings, ranks, device, measured)
    if isinstance(settings, FallSettings):
        return FallLearner(mixture, model, validation, settings, ranks, measuring)
    return MetaLearner(
        mixture,
        model,
        training,
        validation,
        settings,
        ranks,
        learning_rate,
        measuring,
        partial(plain_forms, model, compiled=spec.compiled),
    )


def micro_batch_tokens(spec: TrainingSpec, training: TaskPools) -> int:
    """Most tokens of a training micro-batch, padding included: what there is memory for."""
    longest = spec.sequence_len if spec.sample_packing else int(training.lengths.max())
    return spec.micro_batch_size * longest
