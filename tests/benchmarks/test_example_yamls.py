"""The table of docs/estimators.md is what the choice of a run gives.

`AXOLOTL_EXAMPLES` names the folder `examples` of Axolotl's source distribution; with it all of its
YAMLs are gone through, without it a part of what was read of them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.example_features import (
    features,
    other_than_sft,
    products_refused,
    recipes,
    refused,
)
from benchmarks.example_yamls import MEASURED, in_a_process

# One of each way in which a backward is read, or is not.
SHOWN = (
    {"adapter": "lora", "family": "llama", "targets": "all-linear"},
    {"family": "llama", "fused_loss": True},
    {
        "adapter": "lora",
        "family": "qwen3_moe",
        "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
        "targets": ["k_proj", "o_proj", "q_proj", "v_proj"],
    },
    {"family": "gpt_oss", "fused_loss": True, "zero3": True},
    {"family": "qwen2", "fused_loss": True, "sharded": True},
    {"family": "gemma3", "fused_loss": True, "sharded": True},
    {"family": "llama", "fused_loss": True, "qat": "int4", "sharded": True},
    {
        "family": "mistral4",
        "fused_loss": True,
        "sharded": True,
        "unfrozen": ["model.language_model.*", "lm_head", "embed_tokens"],
    },
)
KERNELS = ["lora_qkv_kernel", "lora_o_kernel", "lora_mlp_kernel", "lora_embedding_kernel"]


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def examples() -> Path:
    place = os.environ.get("AXOLOTL_EXAMPLES")
    if not place:
        pytest.skip("AXOLOTL_EXAMPLES is not set: this test reads Axolotl's example YAMLs")
    return Path(place)


def key(what: dict[str, Any]) -> str:
    return json.dumps(what, sort_keys=True)


@pytest.mark.slow
@pytest.mark.parametrize("what", SHOWN, ids=key)
def test_the_choice_is_the_one_in_the_table(what: dict[str, Any]) -> None:
    measured = {key(line["features"]): line["estimator"] for line in lines() if "reason" in line}
    assert in_a_process(what)[0] == measured[key(what)]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3"])
def test_real_lora_kernels_with_a_fused_loss_are_read(family: str) -> None:
    what = {
        "adapter": "lora",
        "family": family,
        "fused_loss": True,
        "kernels": KERNELS,
        "targets": "all-linear",
    }
    assert in_a_process(what) == ("in_backward", "")


def test_nine_in_ten_of_those_that_can_be_built_are_read() -> None:
    accepted = [line for line in lines() if "reason" in line]
    built = [line for line in accepted if line["estimator"]]
    read = [line for line in built if line["estimator"] == "in_backward"]
    assert len(read) >= 0.9 * len(built)
    assert len(built) >= 0.9 * len(accepted) > 120


def test_what_decides_is_what_the_yamls_say(examples: Path) -> None:
    found = recipes(examples)
    known = {line["yaml"]: line for line in lines()}
    assert set(found) == set(known)
    for path, raw in found.items():
        assert known[path].get("no_sft") == other_than_sft(raw), path
        if not other_than_sft(raw):
            assert known[path].get("refused") == refused(raw), path
            only_products = None if refused(raw) else products_refused(raw)
            assert known[path].get("products_refused") == only_products, path
            assert known[path]["features"] == features(raw), path


@pytest.mark.parametrize(
    ("raw", "of_all", "of_products"),
    [
        ({"fsdp": ["full_shard"], "fsdp_config": {"a": 1}}, "fsdp", None),
        ({"fsdp_config": {"fsdp_version": 1}}, "fsdp_config", None),
        ({"fsdp_version": 2, "fsdp_config": {"a": 1}}, None, None),
        (
            {"fsdp_config": {"fsdp_version": 2, "offload_params": True}},
            None,
            "fsdp_config.offload_params",
        ),
        ({"lisa_n_layers": 4, "lisa_step_interval": 20}, None, "lisa_n_layers"),
        ({"expert_parallel_size": 2}, None, "expert_parallel_size"),
    ],
)
def test_what_is_refused_is_what_the_recipe_refuses(
    raw: dict[str, Any], of_all: str | None, of_products: str | None
) -> None:
    assert refused(raw) == of_all
    if of_all is None:
        assert products_refused(raw) == of_products


@pytest.mark.slow
def test_every_yaml_gets_the_estimator_of_the_table(examples: Path) -> None:
    measured = {
        key(line["features"]): (line["features"], line["estimator"])
        for line in lines()
        if "reason" in line
    }
    for what, estimator in measured.values():
        assert in_a_process(what)[0] == estimator, what
