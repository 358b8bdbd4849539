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
from adapt_axolotl.integration.build import make_learner, run_plan
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.meta_step.learning import Learner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.ranks import Ranks
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
        compiled=False,
        flex_attention=False,
        fused_loss=False,
        weighs_tokens=False,
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
    """As a recipe has it; None for a mixture that follows nothing.

    Args:
        spec: the recipe.
        plan: what is drawn.
        data: its rows.
        model: what is trained.
        rows: the training rows.
        validation: the validation rows.
        rate: gives the learning rate in force.
    """
    return make_learner(
        spec,
        plan,
        data.validation.pools,
        model,
        rows,
        validation,
        Ranks(),
        torch.device("cpu"),
        rate,
        lambda: evaluation_mode(model),
    )
