"""Keys that mean something else here are told, and those that do not are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.integrations.expert_parallel.args import ExpertParallelArgs
from axolotl.utils.schemas.config import AxolotlInputConfig

from adapt_axolotl.commands.init import adapt_recipe
from adapt_axolotl.recipe.meanings import MEANINGS, REFUSALS, told
from adapt_axolotl.recipe.names import TRAINER
from adapt_axolotl.recipe.read import mistakes

# Values that the recipe alone shows to be refused, by keys as REFUSALS has them.
REFUSED: dict[tuple[str, ...], list[dict[str, Any]]] = {
    ("datasets",): [{"datasets": [{"path": "org/a", "type": "alpaca"}]}],
    ("rl", "reward_model", "process_reward_model"): [
        {"rl": "dpo"},
        {"reward_model": True},
        {"process_reward_model": True},
    ],
    ("streaming", "pretraining_dataset"): [{"streaming": True}, {"pretraining_dataset": "org/a"}],
    ("group_by_length", "curriculum_sampling"): [
        {"group_by_length": True},
        {"curriculum_sampling": True},
    ],
    ("context_parallel_size", "tensor_parallel_size", "sequence_parallel_degree"): [
        {"context_parallel_size": 2},
        {"tensor_parallel_size": 2},
        {"sequence_parallel_degree": 2},
    ],
    ("trainer_cls",): [{"trainer_cls": "theirs.Trainer"}],
    ("plugins",): [
        {"plugins": ["axolotl.integrations.diffusion.DiffusionPlugin"]},
        {"plugins": ["axolotl.integrations.hatchery.HatcheryPlugin"]},
        {"plugins": ["axolotl.integrations.kd.KDPlugin"], "kd_trainer": True},
    ],
    ("fsdp", "fsdp_config", "fsdp_version"): [
        {"fsdp": ["full_shard"]},
        {"fsdp_config": {"reshard_after_forward": True}},
        {"fsdp_config": {"fsdp_version": 1}},
    ],
    ("expert_parallel_size",): [{"expert_parallel_size": 2}],
    ("lisa_n_layers", "lisa_step_interval"): [{"lisa_n_layers": 2, "lisa_step_interval": 5}],
    ("save_only_model", "auto_resume_from_checkpoints"): [
        {"save_only_model": True, "auto_resume_from_checkpoints": True}
    ],
    ("val_set_size",): [{"val_set_size": 1}],
    ("lr_scheduler",): [{"lr_scheduler": "rex"}],
    ("metric_for_best_model",): [{"metric_for_best_model": "eval_bleu"}],
}
# Those that are known when the run starts only.
AT_THE_START = {
    ("deepspeed",),
    ("resume_from_checkpoint",),
    ("lora_mlp_kernel",),
}
WITH_A_STATIC_MIXTURE_TOO = {"lisa_n_layers", "expert_parallel_size"}.isdisjoint


def recipe(mixture: str, **keys: Any) -> dict[str, Any]:
    entries = [{"path": f"org/{name}", "type": "alpaca"} for name in "ab"]
    return {
        "datasets": entries,
        "trainer_cls": TRAINER,
        # What is refused with one measure or the other.
        "adapt": {"token_budget": "5%", "mixture": mixture, "learned": {"measure": "products"}},
        **keys,
    }


@pytest.mark.parametrize("listed", [MEANINGS, REFUSALS])
def test_each_key_is_listed_once_and_is_one_of_axolotls(listed: tuple[Any, ...]) -> None:
    keys = [key for one in listed for key in one.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) <= {*AxolotlInputConfig.model_fields, *ExpertParallelArgs.model_fields}


def test_what_is_listed_as_refused_is_refused() -> None:
    assert {one.keys for one in REFUSALS} == {*REFUSED, *AT_THE_START}
    assert mistakes(recipe("learned")) == []
    for keys, cases in REFUSED.items():
        for case in cases:
            (said,) = mistakes(recipe("learned", **case))
            assert said.startswith(tuple(keys)), case
            static = mistakes(recipe("uniform", **case))
            assert static == ([said] if WITH_A_STATIC_MIXTURE_TOO(keys) else []), case


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ({"save_strategy": "epoch", "eval_strategy": "steps"}, ["save_strategy"]),
        ({"num_epochs": 3, "saves_per_epoch": 2}, ["num_epochs", "saves_per_epoch"]),
        # What two keys mean alike is said once.
        (
            {"save_strategy": "epoch", "eval_strategy": "epoch"},
            ["save_strategy: epoch and eval_strategy: epoch mean here: With `epoch`"],
        ),
        ({"evals_per_epoch": None, "save_strategy": "no"}, []),
        ({"val_set_size": 0.01}, ["val_set_size"]),
        ({"dataloader_num_workers": 0, "dataloader_prefetch_factor": 2}, ["dataloader_prefetch_f"]),
        ({"shuffle_merged_datasets": True, "dataset_exact_deduplication": False}, []),
        ({"shuffle_merged_datasets": False}, ["shuffle_merged_datasets: False means here: No eff"]),
        ({"dataset_exact_deduplication": True}, ["dataset_exact_deduplication"]),
        ({"max_steps": 5, "lr_scheduler": "cosine", "learning_rate": 1e-4}, []),
    ],
)
def test_a_key_is_told_where_its_value_means_something_else(
    recipe: dict[str, Any], keys: list[str]
) -> None:
    lines = told(recipe)
    assert len(lines) == len(keys)
    assert all(line.startswith(key) for line, key in zip(lines, keys, strict=True))


def test_init_tells_them(tmp_path: Path) -> None:
    entries = [{"path": f"org/{name}", "type": "alpaca"} for name in "ab"]
    text = yaml.safe_dump({"num_epochs": 3, "save_strategy": "epoch", "datasets": entries})
    said = adapt_recipe(text).meanings
    assert [line.partition(":")[0] for line in said] == ["num_epochs", "save_strategy"]
    assert "300%" in said[0]
