"""AdaptPlugin: connects Axolotl's hooks to the folders of this package. It computes nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.integration.build import build_run, run_plan
from adapt_axolotl.integration.compat import (
    BasePlugin,
    PluginManager,
    TrainDatasetMeta,
    barrier,
    get_logger,
    load_tokenizer,
    set_seed,
)
from adapt_axolotl.integration.installed import check_environment
from adapt_axolotl.integration.mistakes import show_mistakes_alone
from adapt_axolotl.integration.rows import load_recipe_tasks
from adapt_axolotl.integration.schema import preference_types
from adapt_axolotl.integration.spec import TrainingSpec, read_spec
from adapt_axolotl.integration.this_machine import deepspeed_obstacle, lora_kernel_obstacle
from adapt_axolotl.integration.trainer import AdaptTrainer
from adapt_axolotl.recipe.command_line import refuse_dropped_options
from adapt_axolotl.recipe.late_keys import OBJECTIVE, full_name
from adapt_axolotl.recipe.meanings import told
from adapt_axolotl.recipe.read import read_recipe, recipe_as_written
from adapt_axolotl.recipe.refusals import two_trainers
from adapt_axolotl.run.checkpoint import set_incomplete_checkpoints_aside
from adapt_axolotl.run.described import evaluation
from adapt_axolotl.run.plan import RunPlan

LOG = get_logger("axolotl.adapt")


class AdaptPlugin(BasePlugin):
    """Learns the task mixture of a fine-tune under a token budget; see the `adapt:` block."""

    def __init__(self) -> None:
        super().__init__()
        show_mistakes_alone()
        check_environment()
        self._spec: TrainingSpec | None = None
        self._tasks: Tasks | None = None
        self._plan: RunPlan | None = None
        self._recipe = ""
        self._meanings: list[str] = []

    def register(self, cfg: dict) -> None:
        refuse_dropped_options(sys.argv)
        self._recipe = recipe_as_written(cfg)
        self._meanings = told(cfg)
        read_recipe(cfg)
        for mistake in preference_types(cfg):
            raise ValueError(mistake)

    def get_input_args(self) -> str:
        return "adapt_axolotl.config.adapt.AdaptArgs"

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        metric = cfg.metric_for_best_model
        if metric is not None and full_name(metric) == OBJECTIVE:
            # Trainer takes the larger for the better unless the name ends with "loss".
            arguments["greater_is_better"] = False
        return {
            **arguments,
            # Workers fetch hundreds of batches ahead of a mixture that moves.
            "dataloader_num_workers": 0,
            "dataloader_prefetch_factor": None,
            "dataloader_persistent_workers": False,
            # The sampler resumes by itself, to the batch.
            "ignore_data_skip": True,
        }

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> TrainDatasetMeta:
        obstacle = lora_kernel_obstacle(cfg.lora_mlp_kernel)
        if obstacle is not None and not preprocess:
            raise ValueError(obstacle)
        self._spec = read_spec(cfg)
        self._tasks = load_recipe_tasks(cfg, self._spec, load_tokenizer(cfg), fresh=preprocess)
        self._plan = run_plan(self._spec, self._tasks)
        return TrainDatasetMeta(
            train_dataset=self._tasks.train,
            eval_dataset=self._tasks.validation_by_task(),
            total_num_steps=self._plan.estimate().steps,
        )

    def pre_model_load(self, cfg: Any) -> None:
        for line in self._meanings:
            LOG.info(line)
        spec = read_spec(cfg)
        self._refuse_other_trainers(cfg)
        obstacle = deepspeed_obstacle(cfg.deepspeed, os.environ)
        if obstacle is not None and spec.adapt.takes_meta_steps:
            raise ValueError(obstacle)
        # Weights made by `reinit_weights` are otherwise drawn before any seed is set.
        set_seed(spec.seed)
        if spec.resumes_by_itself and int(os.environ.get("RANK", "0")) == 0:
            for folder in set_incomplete_checkpoints_aside(Path(spec.output_dir)):
                LOG.warning(f"set aside a checkpoint that was not written to its end: {folder}")
        barrier()

    def _refuse_other_trainers(self, cfg: Any) -> None:
        """Axolotl takes the trainer of the first plugin that has one, and says nothing of the
        others."""
        for name, plugin in PluginManager.get_instance().plugins.items():
            if plugin is not self and plugin.get_trainer_cls(cfg) is not None:
                raise ValueError(two_trainers(name))

    def get_trainer_cls(self, cfg: Any) -> type[AdaptTrainer]:
        return AdaptTrainer

    def post_trainer_create(self, cfg: Any, trainer: AdaptTrainer) -> None:
        assert self._spec is not None
        assert self._tasks is not None
        assert self._plan is not None
        run = build_run(cfg, self._spec, self._tasks, self._plan, trainer, self._recipe)
        adapt = self._spec.adapt
        trainer.attach(
            run,
            evaluation(adapt, self._tasks.names),
            log_task_losses=adapt.log_task_losses,
            weighs_tokens=self._spec.weighs_tokens,
        )
