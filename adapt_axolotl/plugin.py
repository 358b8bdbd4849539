"""AdaptPlugin: wires Axolotl's hooks to the rooms of this package. It computes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from axolotl.common.datasets import TrainDatasetMeta
from axolotl.integrations.base import BasePlugin
from axolotl.loaders import load_tokenizer
from axolotl.utils.dict import DictDefault
from axolotl.utils.distributed import barrier
from axolotl.utils.logging import get_logger
from transformers import set_seed

from adapt_axolotl.assembly import assemble_run, plan_run
from adapt_axolotl.checkpoint import set_incomplete_checkpoints_aside
from adapt_axolotl.config import AdaptConfig
from adapt_axolotl.recipe import read_recipe, recipe_as_written, run_seed
from adapt_axolotl.run_plan import RunPlan
from adapt_axolotl.tasks import Tasks, load_tasks
from adapt_axolotl.trainer import AdaptTrainer

LOG = get_logger("axolotl.adapt")


class AdaptPlugin(BasePlugin):
    """Learns the task mixture of a fine-tune under a token budget; see the `adapt:` block."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: Tasks | None = None
        self._plan: RunPlan | None = None
        self._recipe = ""

    def register(self, cfg: dict) -> None:
        self._recipe = recipe_as_written(cfg)
        read_recipe(cfg)

    def get_input_args(self) -> str:
        return "adapt_axolotl.config.AdaptArgs"

    def get_training_args(self, cfg: DictDefault) -> dict[str, Any]:
        return {
            # Workers fetch hundreds of batches ahead of a mixture that moves.
            "dataloader_num_workers": 0,
            "dataloader_prefetch_factor": None,
            "dataloader_persistent_workers": False,
            # The sampler resumes by itself, to the batch.
            "ignore_data_skip": True,
        }

    def load_datasets(self, cfg: DictDefault, preprocess: bool = False) -> TrainDatasetMeta:
        adapt = adapt_block(cfg)
        self._tasks = load_tasks(cfg, adapt, load_tokenizer(cfg), fresh=preprocess)
        self._plan = plan_run(cfg, adapt, self._tasks)
        return TrainDatasetMeta(
            train_dataset=self._tasks.train,
            eval_dataset=self._tasks.validation_by_task(),
            total_num_steps=self._plan.estimate().steps,
        )

    def pre_model_load(self, cfg: DictDefault) -> None:
        # Weights made by `reinit_weights` are otherwise drawn before any seed is set.
        set_seed(run_seed(cfg))
        if cfg.auto_resume_from_checkpoints and int(os.environ.get("RANK", "0")) == 0:
            for folder in set_incomplete_checkpoints_aside(Path(cfg.output_dir)):
                LOG.warning(f"set aside a checkpoint that was not written to its end: {folder}")
        barrier()

    def get_trainer_cls(self, cfg: DictDefault) -> type[AdaptTrainer]:
        return AdaptTrainer

    def post_trainer_create(self, cfg: DictDefault, trainer: AdaptTrainer) -> None:
        assert self._tasks is not None
        assert self._plan is not None
        adapt = adapt_block(cfg)
        run = assemble_run(cfg, adapt, self._tasks, self._plan, trainer, self._recipe)
        trainer.attach(run)


def adapt_block(cfg: DictDefault) -> AdaptConfig:
    """The checked block, from Axolotl's config."""
    return AdaptConfig.model_validate(cfg.adapt.to_dict())
