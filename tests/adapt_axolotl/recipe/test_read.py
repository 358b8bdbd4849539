"""Mistakes in a recipe get one message that names the key and the remedy, before anything loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from adapt_axolotl.commands.init import adapt_recipe
from adapt_axolotl.recipe.block import parse_adapt_block
from adapt_axolotl.recipe.read import read_recipe, recipe_as_written
from adapt_axolotl.run.described import named_objective

BY_PRODUCTS = {"token_budget": "5%", "learned": {"measure": "products"}}

PHASES: list[dict[str, Any]] = [
    {"until": "60%", "mixture": "uniform"},
    {"mixture": "proportional"},
]


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    """A raw recipe that is right."""
    datasets = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("{}\n")
        datasets.append({"path": str(file), "task": name, "type": "chat_template"})
    return {"adapt": {"token_budget": "5%"}, "datasets": datasets}


def test_a_recipe_is_kept_byte_for_byte_unless_the_command_line_changed_it(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yml"
    file.write_bytes(b"# caf\xc3\xa9\r\nseed: 1   # why\r\n")
    cfg = {"seed": 1, "debug": False, "axolotl_config_path": str(file)}
    assert recipe_as_written(cfg).encode() == file.read_bytes()
    assert recipe_as_written({**cfg, "learning_rate": 0.1}) == "seed: 1\nlearning_rate: 0.1\n"
    resumed = {**cfg, "resume_from_checkpoint": "out/checkpoint-5"}
    assert recipe_as_written(resumed).encode() == file.read_bytes()


def test_names_and_paths_are_read_back(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    raw["datasets"].append({"path": "${MY_DATA}/a.jsonl", "task": "a"})
    raw["datasets"].append({"path": "some/hub-name"})
    raw["test_datasets"] = [{"path": "${MY_DATA}/b.jsonl", "task": "b"}]
    adapt = read_recipe(raw)
    assert adapt.train_tasks == ["a", "b", "a", "some/hub-name"]
    assert adapt.test_tasks == ["b"]
    assert raw["datasets"][2]["path"] == str(tmp_path / "a.jsonl")
    assert raw["adapt"]["train_tasks"] == adapt.train_tasks


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (None, "is empty"),
        (False, "False is no name"),
        (["a"], r"\['a'\] is no name"),
    ],
)
def test_a_task_that_is_no_name_is_refused(raw: dict[str, Any], name: object, says: str) -> None:
    raw["datasets"][1]["task"] = name
    with pytest.raises(ValueError, match=rf"^datasets\[1\]\.task: {says}; write a name in quotes"):
        read_recipe(raw)
    with pytest.raises(ValueError, match=r"^datasets\[1\]\.task: "):
        adapt_recipe(yaml.safe_dump(raw))
    raw["datasets"][1]["task"] = 7
    assert read_recipe(raw).train_tasks == ["a", "7"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"adapt": None}, "adapt: this block is missing"),
        ({"adapt": "5%"}, "adapt: must be a block of keys"),
        ({"datasets": []}, "at least two tasks, found none"),
        ({"rl": "dpo"}, "rl: dpo trains on preferences"),
        ({"streaming": True}, "streaming: a streamed dataset has no pool"),
        ({"pretraining_dataset": "x"}, "pretraining_dataset: a streamed"),
        ({"curriculum_sampling": True}, "curriculum_sampling: cannot be combined"),
        ({"fsdp_config": {"a": 1}}, "fsdp_config: this is FSDP1"),
        (
            {"fsdp_config": {"a": 1}, "adapt": {"token_budget": "5%", "mixture": "uniform"}},
            "fsdp_config: this is FSDP1",
        ),
        ({"fsdp": ["full_shard"], "fsdp_version": 1}, "fsdp: this is FSDP1"),
        (
            {
                "fsdp_version": 2,
                "fsdp_config": {"offload_params": True},
                "adapt": BY_PRODUCTS,
            },
            r"fsdp_config\.offload_params: gradient products",
        ),
        ({"context_parallel_size": 2}, "context_parallel_size: 2 splits a row"),
        ({"sequence_parallel_degree": 2}, "sequence_parallel_degree: 2 splits a row"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size: 2 wants the same rows"),
        (
            {
                "lisa_n_layers": 2,
                "lisa_step_interval": 5,
                "adapt": BY_PRODUCTS,
            },
            "lisa_n_layers: LISA trains other",
        ),
        ({"expert_parallel_size": 2, "adapt": BY_PRODUCTS}, "expert_parallel_size: 2 gives each"),
        ({"trainer_cls": "my.Trainer"}, "trainer_cls: my.Trainer would never run"),
        (
            {"plugins": ["axolotl.integrations.kd.KDPlugin"], "kd_trainer": True},
            "plugins: axolotl.integrations.kd.KDPlugin brings a trainer of its own",
        ),
        (
            {"plugins": ["axolotl.integrations.diffusion.DiffusionPlugin"]},
            "plugins: axolotl.integrations.diffusion.DiffusionPlugin brings",
        ),
        (
            {"save_only_model": True, "auto_resume_from_checkpoints": True},
            "save_only_model: its checkpoints have no optimizer",
        ),
        ({"val_set_size": 100}, "val_set_size: 100"),
    ],
)
def test_a_recipe_that_cannot_work_says_why(
    raw: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        read_recipe({**raw, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        # The ways in which Axolotl takes the version.
        {"fsdp_version": 2, "fsdp_config": {"offload_params": True}},
        {"fsdp_config": {"fsdp_version": 2}, "adapt": BY_PRODUCTS},
        {"fsdp_config": {"version": 2}},
        {"fsdp_config": {}},
        {
            "adapt": {"token_budget": "5%", "mixture": "uniform"},
            "lisa_n_layers": 2,
            "lisa_step_interval": 5,
        },
        {"expert_parallel_size": 2},
        {"expert_parallel_size": 1, "adapt": BY_PRODUCTS},
        {"lisa_n_layers": 2},  # without an interval Axolotl leaves it off
        {"plugins": ["axolotl.integrations.kd.KDPlugin"]},  # without kd_trainer the usual one runs
        {"save_only_model": True},
        {"trainer_cls": "adapt_axolotl.trainer.AdaptTrainer"},
    ],
)
def test_what_works_is_not_refused(raw: dict[str, Any], changes: dict[str, Any]) -> None:
    read_recipe({**raw, **changes})


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({}, "adapt.token_budget: missing; add it, for example token_budget: 5%"),
        ({"token_budget": 0}, "adapt.token_budget: 0 buys no training step"),
        ({"token_budgets": 5}, "adapt.token_budgets: no such key; did you mean token_budget?"),
        (
            {"estimator": "auto"},
            "adapt.estimator: no such key here; it belongs under adapt.learned",
        ),
        (
            {"learned": {"objectiv": "mean"}},
            "adapt.learned.objectiv: no such key; did you mean obj",
        ),
        (
            {"learned": {"objective": "max"}},
            "'max' is no objective; choose from worst_case, relative",
        ),
        ({"learned": {"objective": "excess"}}, "needs reference_losses"),
        ({"learned": {"objective": "mean", "beta": 2}}, "remove beta"),
        ({"learned": {"reference_losses": {"a": 1.0}}}, "does not read reference_losses"),
        ({"learned": {"objective": "cvar", "level": "0%"}}, "'0%' is no share of the tasks; write"),
        ({"learned": {"level": "25%"}}, "worst_case does not read level; remove level, or choose"),
        ({"learned": {"alpha": 0}}, "worst_case does not read alpha; remove alpha, or choose obj"),
        ({"learned": {"objective": "cvar", "beta": 2}}, "cvar does not read beta; remove beta"),
        ({"learned": {"objective": "worst_group"}}, "needs groups; name the tasks of each"),
        (
            {"learned": {"objective": "worst_group", "groups": ["a", "b"]}},
            "must be a mapping of names to lists of task names; got ['a', 'b']; write groups: "
            "{one_group: [one_task]}",
        ),
        (
            {"learned": {"objective": "worst_group", "groups": {"x": "a"}}},
            "groups.x: must be a list of task names; got 'a'; write x: [one_task]",
        ),
        (
            {"learned": {"objective": "worst_group", "groups": {"x": ["a"], "y": ["b", "a"]}}},
            "groups: a is named more than once; leave it in one group",
        ),
        (
            {
                "learned": {
                    "objective": "worst_group",
                    "groups": {"x": ["a"], "y": ["b", "c"]},
                    "targets": ["b"],
                }
            },
            "groups: x holds no task that counts",
        ),
        (
            {"learned": {"objective": "worst_group", "groups": {"x": []}}},
            "groups: x holds no task that counts",
        ),
        ({"learned": {"bounds": {"a": 0}}}, "bounds: a: 0 is a loss that nothing gets below"),
        (
            {"learned": {"bounds": {"a": 1.0}, "targets": ["a"]}},
            "bounds: a is one of the targets too",
        ),
        ({"learned": {"start_after": "six"}}, "'six' is no share of the budget"),
        ({"mixture": "guess"}, "adapt.mixture: must be one of learned, uniform"),
        ({"mixture": "weights"}, "mixture: weights needs the weights: mapping; add it"),
        ({"learned": {"initial": "weights"}}, "learned.initial: weights needs the weights: map"),
        (
            {"learned": {"initial": "weights"}, "weights": {"a": 1, "b": 0}},
            "starts with a share above 0 for every task",
        ),
        ({"learned": {"look_ahead": True}}, "look_ahead is read with measure: products only"),
        ({"learned": {"step_size": 0.5}}, "step_size is read with rule: steps only"),
        ({"learned": {"entropy_weight": 0}}, "entropy_weight: 0 leaves nothing that holds"),
        (
            {"learned": {"targets": "a"}},
            "targets: must be a list of task names, one or more; got 'a'; write targets: [one_task",
        ),
        ({"learned": {"targets": []}}, "targets: must be a list of task names, one or more; got ["),
        ({"learned": {"targets": [True]}}, "targets.0: must be a name; got True; write it in qu"),
        ({"learned": {"overhead": "much"}}, "'much' is no share of the run's time"),
        ({"weights": {"a": 1}}, "weights: is read with mixture: weights, or with mixture: learned"),
        ({"mixture": "round_robin", "unit": "tokens"}, "remove unit: tokens"),
        (
            {
                "mixture": "phases",
                "max_repeats": 2,
                "phases": [
                    {"until": "60%", "mixture": "weights", "weights": {"a": 1, "b": 0}},
                    {"mixture": "uniform"},
                ],
            },
            "max_repeats: a phase leaves b out, and where all its tasks have been drawn so often",
        ),
        ({"mixture": "phases"}, "mixture: phases and the phases: list go together; add the one"),
        ({"phases": PHASES}, "mixture: phases and the phases: list go together; add the one"),
        ({"mixture": "phases", "phases": PHASES[:1]}, "two phases or more follow each other, each"),
        ({"mixture": "phases", "phases": PHASES[:1] * 2}, "two phases or more follow each other,"),
        (
            {"mixture": "phases", "phases": [PHASES[0], PHASES[0], PHASES[1]]},
            "phases: each phase ends after the one before it; order them by until:",
        ),
        (
            {"mixture": "phases", "phases": ["uniform", "proportional"]},
            "phases.0: must be a block of keys; got 'uniform'; write {until: 60%, mixture: unif",
        ),
        (
            {"mixture": "phases", "phases": "uniform"},
            "phases: must be a list of blocks of keys; got 'uniform'; write phases: [{until: 60%",
        ),
        (
            {"mixture": "phases", "phases": [{**PHASES[0], "until": "much"}, PHASES[1]]},
            "phases.0.until: 'much' is no share of the run; write a percentage, as in 60%",
        ),
        (
            {"mixture": "phases", "phases": [{"until": "5%"}, PHASES[1]]},
            "phases.0.mixture: missing; add it, for example mixture: uniform",
        ),
        (
            {"mixture": "phases", "phases": [{**PHASES[0], "mixture": "learned"}, PHASES[1]]},
            "phases.0.mixture: must be one of uniform, proportional, temperature, weights; got 'le",
        ),
        (
            {"mixture": "phases", "phases": [PHASES[0], {"mixture": "weights"}]},
            "mixture: weights and the weights: mapping go together; add the one that is missing",
        ),
        (
            {"mixture": "phases", "phases": [{**PHASES[0], "untill": 1}, PHASES[1]]},
            "phases.0.untill: no such key; did you mean until?",
        ),
        ({"final_temperature": 1}, "final_temperature is read with mixture: temperature only; rem"),
        (
            {"tokens": {"a": 0}},
            "tokens: a: 0 is no number of tokens to train on; write",
        ),
        (
            {"tokens": {"a": 1.5}},
            "tokens.a: must be a whole number; got 1.5; write one, as in",
        ),
        ({"tokens": {"a": 5}, "unit": "examples"}, "remove tokens:, or unit: examples"),
        ({"tokens": {"a": 5}, "mixture": "round_robin"}, "remove tokens:, or mixture: round_robin"),
        ({"val_examples": 5, "val_fraction": 0.1}, "exclude each other"),
    ],
)
def test_mistakes_in_the_block_name_key_and_remedy(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the message is checked below)
        parse_adapt_block({"token_budget": "5%", **block} if block else {})
    assert says in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="mistakes") as error:
        parse_adapt_block({"token_budget": "x", "mixtur": "uniform", "floor": 2})
    assert str(error.value).count("\n  - adapt.") == 3


def test_one_task_under_two_entries_is_one_task_too_few(raw: dict[str, Any]) -> None:
    for entry in raw["datasets"]:
        entry["task"] = "same"
    with pytest.raises(ValueError, match="at least two tasks, found only 'same'"):
        read_recipe(raw)


def test_targets_must_be_tasks(raw: dict[str, Any]) -> None:
    raw["adapt"] |= {"learned": {"targets": ["a", "c"]}}
    with pytest.raises(ValueError, match=r"targets: c is no task of the recipe; choose from a, b"):
        read_recipe(raw)


@pytest.mark.parametrize(
    ("learned", "says"),
    [
        (
            {"objective": "worst_group", "groups": {"x": ["a", "c"]}},
            r"adapt.learned.groups: c is no task of the recipe; choose from a, b",
        ),
        ({"bounds": {"c": 1}}, r"adapt.learned.bounds: c is no task of the recipe; choose from a"),
        ({"bounds": {"a": 1, "b": 2}}, r"every task has a bound, so there is no loss to lower; r"),
    ],
)
def test_groups_and_bounds_must_be_of_tasks(
    raw: dict[str, Any], learned: dict[str, Any], says: str
) -> None:
    raw["adapt"] |= {"learned": learned}
    with pytest.raises(ValueError, match=says):
        read_recipe(raw)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tokens": {"c": 5}}, "adapt.tokens: c is no task of the recipe; choose from a, b"),
        ({"tokens": {"a": 5, "b": 5}}, "adapt.tokens: names every task, so there is none to take"),
        (
            {"tokens": {"a": 5}, "mixture": "weights", "weights": {"a": 1, "b": 1}},
            "adapt.weights: a has a number of tokens .*; remove it from one of the two",
        ),
    ],
)
def test_tokens_leave_a_task_to_share_the_rest(
    raw: dict[str, Any], keys: dict[str, Any], says: str
) -> None:
    raw["adapt"] |= keys
    with pytest.raises(ValueError, match=says):
        read_recipe(raw)


def test_weights_are_of_the_tasks_without_tokens(raw: dict[str, Any]) -> None:
    raw["adapt"] |= {"tokens": {"a": 5}, "mixture": "weights", "weights": {"b": 1}}
    read_recipe(raw)


def test_the_weights_of_a_phase_must_name_the_tasks(raw: dict[str, Any]) -> None:
    second: dict[str, Any] = {"mixture": "weights", "weights": {"a": 1}}
    raw["adapt"] |= {"mixture": "phases", "phases": [PHASES[0], second]}
    with pytest.raises(ValueError, match=r"adapt.phases\[1\].weights: .* missing: b"):
        read_recipe(raw)
    second["weights"] = {"a": 1, "b": 0}
    read_recipe(raw)


def test_weights_must_name_the_tasks(raw: dict[str, Any]) -> None:
    raw["adapt"] |= {"mixture": "weights", "weights": {"a": 1, "c": 1}}
    with pytest.raises(ValueError, match=r"missing: b; unknown: c"):
        read_recipe(raw)


def test_validation_of_an_unknown_task_is_refused(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [{"path": "x/y", "task": "c"}]
    with pytest.raises(ValueError, match="task 'c' has validation but no training data"):
        read_recipe(raw)


def test_a_target_needs_no_training_data(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [{"path": "x/y", "target": "c"}, {"path": "x/z", "target": "b"}]
    raw["adapt"] |= {"learned": {"measure": "products"}}
    adapt = read_recipe(raw)
    assert adapt.task_names == ("a", "b", "c")
    assert adapt.targets == ("c", "b")
    assert adapt.test_tasks == ["c", "b"]


def test_the_best_checkpoint_may_be_by_a_target_without_training_data(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [{"path": "x/y", "target": "c"}]
    raw["adapt"] |= {"learned": {"measure": "products"}}
    read_recipe({**raw, "metric_for_best_model": "eval_c_loss"})
    with pytest.raises(ValueError, match="eval_d_loss"):
        read_recipe({**raw, "metric_for_best_model": "eval_d_loss"})


def test_a_target_without_training_data_wants_gradient_products(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [{"path": "x/y", "target": "c"}]
    with pytest.raises(ValueError, match=r"target 'c' has no training data.*measure: products"):
        read_recipe(raw)
    raw["adapt"]["mixture"] = "uniform"
    assert read_recipe(raw).task_names == ("a", "b", "c")


def test_a_target_stands_alone_and_in_test_datasets(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [{"path": "x/y", "target": "c", "task": "a"}]
    with pytest.raises(ValueError, match=r"test_datasets\[0\]: has task: a and target: c; keep"):
        read_recipe(raw)
    raw["test_datasets"] = [{"path": "x/y", "target": ""}]
    with pytest.raises(ValueError, match=r"test_datasets\[0\]\.target: is empty; write a name"):
        read_recipe(raw)
    raw["datasets"][0]["target"] = "c"
    with pytest.raises(ValueError, match=r"datasets\[0\]\.target: a target is what training is"):
        read_recipe(raw)


def test_targets_may_count_unequally(raw: dict[str, Any]) -> None:
    raw["test_datasets"] = [
        {"path": "x/y", "target": "c", "weight": 2},
        {"path": "x/y2", "target": "c"},
        {"path": "x/z", "target": "b"},
    ]
    raw["adapt"] |= {"learned": {"measure": "products"}}
    adapt = read_recipe(raw)
    chosen = named_objective(adapt, adapt.task_names)
    assert chosen.counts(np.ones(3, dtype=bool)).tolist() == [False, True, True]
    assert chosen.over(chosen.targets).parts(2) == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"target": "c", "weight": 0}], r"test_datasets\[0\]\.weight: 0 is no number above 0"),
        ([{"target": "c", "weight": "two"}], r"weight: 'two' is no number above 0; write one"),
        ([{"target": "c", "weight": True}], r"weight: True is no number above 0"),
        ([{"task": "a", "weight": 2}], r"weight: says how much a target counts.*write target:"),
        (
            [{"target": "c", "weight": 2}, {"target": "c", "weight": 3}],
            r"test_datasets\[1\]\.weight: target c has weight 2 in another entry",
        ),
    ],
)
def test_a_weight_that_says_nothing_is_refused(
    raw: dict[str, Any], entries: list[dict[str, Any]], said: str
) -> None:
    raw["test_datasets"] = [{"path": "x/y", **entry} for entry in entries]
    raw["adapt"] |= {"learned": {"measure": "products"}}
    with pytest.raises(ValueError, match=said):
        read_recipe(raw)


def test_missing_and_empty_files_and_unset_variables_are_named(
    raw: dict[str, Any], tmp_path: Path
) -> None:
    path = Path(raw["datasets"][1]["path"])
    path.write_text("")
    with pytest.raises(ValueError, match=r"datasets\[1\]\.path: .*b\.jsonl is empty"):
        read_recipe(raw)
    path.unlink()
    with pytest.raises(ValueError, match=r"datasets\[1\]\.path: there is no file .*b\.jsonl"):
        read_recipe(raw)
    raw["datasets"][1]["path"] = "${NO_SUCH_VARIABLE}/b.jsonl"
    with pytest.raises(ValueError, match="NO_SUCH_VARIABLE is not set"):
        read_recipe(raw)


def test_a_share_held_out_by_axolotl_becomes_one_of_every_task(raw: dict[str, Any]) -> None:
    assert read_recipe({**raw, "val_set_size": 0.1}).val_fraction == 0.1


def test_a_budget_must_hold_a_token_of_every_row_of_a_step(raw: dict[str, Any]) -> None:
    raw |= {"micro_batch_size": 4, "gradient_accumulation_steps": 8}
    raw["adapt"]["token_budget"] = 31
    with pytest.raises(
        ValueError,
        match=r"adapt.token_budget: 31 supervised tokens are fewer than one optimizer step takes "
        r"\(32 rows, .* lower micro_batch_size or gradient_accumulation_steps",
    ):
        read_recipe(raw)
    raw["adapt"]["token_budget"] = 8
    raw["sample_packing"] = True  # a micro-batch may be one long row
    read_recipe(raw)
    raw["adapt"]["token_budget"] = 7
    with pytest.raises(ValueError, match="lower gradient_accumulation_steps"):
        read_recipe(raw)
