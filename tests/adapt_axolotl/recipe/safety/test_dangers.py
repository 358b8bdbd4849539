"""What of a recipe runs others' code, reads elsewhere or sends data away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapt_axolotl.commands.validate import validate
from adapt_axolotl.recipe.names import PLUGIN
from adapt_axolotl.recipe.safety.dangers import dangers
from tests.support.written_recipe import write


@pytest.mark.parametrize(
    ("change", "kind", "key"),
    [
        ({"trust_remote_code": True}, "remote_code", "trust_remote_code"),
        ({"plugins": [PLUGIN, "evil.P"]}, "plugins", "plugins[1]"),
        ({"trainer_cls": "evil.Trainer"}, "plugins", "trainer_cls"),
        ({"attn_implementation": "evil/kernel"}, "remote_code", "attn_implementation"),
        ({"use_kernels": True}, "remote_code", "use_kernels"),
        (
            {"plugins": [PLUGIN, "axolotl.integrations.nemo_gym.NemoGymPlugin"]},
            "plugins",
            "plugins[1]",
        ),
        (
            {"plugins": [PLUGIN, "axolotl.integrations.lm_eval.LMEvalPlugin"]},
            "plugins",
            "plugins[1]",
        ),
        (
            {"overrides_of_model_config": {"_attn_implementation": "them/kernel"}},
            "remote_code",
            "overrides_of_model_config._attn_implementation",
        ),
        ({"resume_from_checkpoint": "theirs"}, "remote_code", "resume_from_checkpoint"),
        (
            {"datasets": [{"path": "a.pkl", "ds_type": "pandas", "type": "alpaca"}]},
            "remote_code",
            "datasets[0].ds_type",
        ),
        (
            {"datasets": [{"path": "a", "type": "evil_package.loader"}]},
            "imports",
            "datasets[0].type",
        ),
        (
            {"datasets": [{"path": "a", "type": "alpaca:evil.strategy"}]},
            "imports",
            "datasets[0].type",
        ),
        ({"torchdistx_path": "vendor"}, "imports", "torchdistx_path"),
        ({"vllm": {"serve_module": "evil"}}, "imports", "vllm.serve_module"),
        ({"deepspeed": {"wandb": {"enabled": True}}}, "uploads", "deepspeed.wandb.enabled"),
        ({"trl": {"reward_funcs": ["evil.f"]}}, "imports", "trl.reward_funcs[0]"),
        ({"datasets": [{"path": "a", "type": "evil.strategy"}]}, "imports", "datasets[0].type"),
        ({"datasets": [{"path": "/etc/x", "type": "alpaca"}]}, "paths", "datasets[0].path"),
        ({"output_dir": "../up"}, "paths", "output_dir"),
        ({"dataset_prepared_path": "~/x"}, "paths", "dataset_prepared_path"),
        ({"base_model": "https://host/x"}, "paths", "base_model"),
        ({"deepspeed": "${HOME}/ds.json"}, "paths", "deepspeed"),
        ({"hub_model_id": "them/model"}, "uploads", "hub_model_id"),
        ({"push_dataset_to_hub": "them/data"}, "uploads", "push_dataset_to_hub"),
        ({"wandb_project": "theirs"}, "uploads", "wandb_project"),
        ({"use_mlflow": True}, "uploads", "use_mlflow"),
    ],
)
def test_each_danger_is_listed_and_must_be_allowed(
    raw: dict[str, Any], change: dict[str, Any], kind: str, key: str
) -> None:
    Path("theirs").mkdir()
    file = write({**raw, **change})
    (danger,) = validate(file).dangers
    assert (danger.kind, danger.key) == (kind, key)
    assert not validate(file, allow=[kind]).dangers
    assert not validate(file, allow=["all"]).dangers


def test_a_model_elsewhere_on_this_machine_is_only_read(
    raw: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw["base_model"] = str(tmp_path_factory.mktemp("model"))
    assert validate(write(raw)).passed
    (danger,) = validate(write({**raw, "trust_remote_code": True})).dangers
    assert danger.kind == "remote_code"


def test_a_recipe_without_mistakes_says_that_it_waits_for_a_word(raw: dict[str, Any]) -> None:
    file = write({**raw, "output_dir": "/elsewhere"})
    headline, danger = validate(file).lines()
    assert headline.startswith("recipe.yml: no mistakes; accepted once you allow what follows")
    assert "output_dir: /elsewhere (reads or writes outside" in danger
    assert validate(file, allow=["paths"]).lines() == ["recipe.yml: accepted"]
    mistaken = write({**raw, "output_dir": "/elsewhere", "sequence_len": "long"})
    assert validate(mistaken).lines()[0] == "recipe.yml: not accepted"


def test_a_link_that_leads_away_and_a_deepspeed_file_are_looked_at(raw: dict[str, Any]) -> None:
    Path("away").symlink_to("/etc")
    Path("ds.json").write_text(json.dumps({"comet": {"enabled": True}, "x": 1}))
    raw |= {"dataset_prepared_path": "away/x", "output_dir": "away", "deepspeed": "ds.json"}
    found = [(one.kind, one.key) for one in dangers(raw)]
    assert ("paths", "output_dir") in found
    assert ("uploads", "deepspeed[1].comet.enabled") in found


def test_what_ordinary_recipes_have_is_no_danger(raw: dict[str, Any]) -> None:
    raw["plugins"].append("axolotl.integrations.liger.LigerPlugin")
    raw["datasets"][0]["type"] = "sharegpt.load_role"
    raw["datasets"][1]["type"] = {"system_prompt": "", "format": "{instruction}"}
    raw |= {"trust_remote_code": False, "wandb_project": None, "use_wandb": False}
    raw["attn_implementation"] = "flash_attention_2"
    assert dangers(raw) == []


@pytest.mark.parametrize(
    ("trackers", "sends"),
    [
        ({"wandb_mode": "offline", "wandb_project": "mine", "use_wandb": True}, []),
        ({"wandb_mode": "disabled", "wandb_project": "mine", "wandb_log_model": "end"}, []),
        ({"wandb_mode": "online", "use_wandb": True}, ["use_wandb", "wandb_mode"]),
        ({"use_wandb": False, "wandb_name": "mine", "wandb_entity": "mine"}, []),
        # Axolotl switches wandb on where a project is named, whatever use_wandb says.
        ({"use_wandb": False, "wandb_project": "mine"}, ["wandb_project"]),
        ({"wandb_mode": "offline", "comet_project_name": "mine"}, ["comet_project_name"]),
        ({"comet_online": False, "comet_project_name": "mine", "use_comet": True}, []),
        ({"swanlab_mode": "local", "swanlab_project": "mine"}, []),
        (
            {"swanlab_mode": "offline", "swanlab_lark_webhook_url": "mine"},
            ["swanlab_lark_webhook_url"],
        ),
        ({"use_mlflow": True, "mlflow_tracking_uri": "./mlruns"}, []),
        ({"use_mlflow": True, "mlflow_tracking_uri": "databricks"}, ["mlflow_tracking_uri"]),
        ({"trackio_project_name": "mine"}, ["trackio_project_name"]),
        ({"wandb_mode": "offline", "hub_model_id": "mine/model"}, ["hub_model_id"]),
    ],
)
def test_a_tracker_that_is_off_or_offline_sends_nothing(
    raw: dict[str, Any], trackers: dict[str, Any], sends: list[str]
) -> None:
    found = [one.key for one in dangers({**raw, **trackers}) if one.kind == "uploads"]
    assert sorted(set(found) - {"use_mlflow"}) == sends


def test_a_small_file_that_repeats_itself_without_end_is_gone_through(raw: dict[str, Any]) -> None:
    lines = ["a0: &a0 [/x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert len(dangers(yaml.safe_load("\n".join(lines)))) == 1


def test_an_alias_hides_no_danger() -> None:
    found = dangers(
        yaml.safe_load(
            "lora_target_modules: &names [evil.Plugin]\nplugins: *names\n"
            "wandb: &on {enabled: true}\ndeepspeed: {wandb: *on}\n"
        )
    )
    assert [(one.kind, one.key) for one in found] == [
        ("plugins", "plugins[0]"),
        ("uploads", "deepspeed.wandb.enabled"),
    ]
