"""What a recipe makes of an `adapt:` block, for a run of the study: the same spec, plan and
learner, with a plain loop in the place of Axolotl's Trainer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from study_data import BIN, Data
from transformers import Qwen3ForCausalLM

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.integration.build import meta_settings, run_plan
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.held_out import HeldOut, HeldOutRows
from adapt_axolotl.meta_step.learner import MetaLearner
from adapt_axolotl.meta_step.learning import Learner
from adapt_axolotl.meta_step.loss_learner import LossLearner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.recipe.earlier_run import earlier_run
from adapt_axolotl.run.described import learned_mixture
from adapt_axolotl.run.methods import loss_mixture
from adapt_axolotl.run.plan import RunPlan


def spec_of(adapt: dict[str, Any], data: Data, seed: int, place: Path) -> TrainingSpec:
    """The recipe: a bin of 512 tokens a step, packed."""
    names = list(data.train.pools.tasks)
    filled = {**adapt, "train_tasks": names, "test_tasks": names}
    return TrainingSpec(
        adapt=AdaptConfig.model_validate(filled),
        seed=seed,
        micro_batch_size=1,
        gradient_accumulation_steps=1,
        max_steps=None,
        sequence_len=BIN,
        eval_sequence_len=BIN,
        sample_packing=True,
        eval_sample_packing=False,
        packs_into_one=False,
        hides_from_hooks=False,
        deduplicate=False,
        prepared=place,
        output_dir=place,
        resumes_by_itself=False,
    )


def plan_of(spec: TrainingSpec, data: Data) -> RunPlan:
    """What is drawn."""
    tasks = Tasks(
        data.train,  # type: ignore[arg-type]  # indexed as a data set is
        data.train.pools,
        data.validation,  # type: ignore[arg-type]
        data.validation.pools,
        read={},
        digest=data.digest(),
    )
    return run_plan(spec, tasks, processes=1)


def learner_of(
    spec: TrainingSpec,
    plan: RunPlan,
    data: Data,
    model: Qwen3ForCausalLM,
    rows: MeasuringRows,
    validation: MeasuringRows,
    rate: Callable[[], float],
) -> Learner | None:
    """As `build_run` makes it for Trainer; None for a mixture that follows nothing.

    Args:
        spec: the recipe.
        plan: what is drawn.
        data: its rows.
        model: what is trained.
        rows: the training rows.
        validation: the validation rows.
        rate: gives the learning rate in force.
    """
    adapt, held_out, cpu = spec.adapt, data.validation.pools, torch.device("cpu")
    if adapt.follows_losses:
        earlier = earlier_run(adapt, plan.pools.tasks)
        follows = loss_mixture(adapt, plan.pools.tasks, plan.initial, earlier)
        return LossLearner(follows, Ranks(), cpu)
    if not adapt.takes_meta_steps:
        return None

    def measuring() -> Any:
        return evaluation_mode(model)

    mixture = learned_mixture(adapt, plan.pools, plan.initial, rate)
    settings = meta_settings(spec, plan.estimate(), held_out, None)
    if isinstance(settings, CurveSettings):
        which = HeldOutRows(held_out, plan.pools, plan.seed)
        measured = HeldOut(model, validation, which, Ranks(), measuring)
        return CurveLearner(mixture, settings, Ranks(), cpu, measured)
    assert not isinstance(settings, FallSettings), "no arm measures falls"
    return MetaLearner(mixture, model, rows, validation, settings, Ranks(), rate, measuring)
