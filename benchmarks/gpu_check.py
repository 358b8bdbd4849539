"""What works on an accelerator: short runs of `axolotl train`, each with other kernels.

    adapt-axolotl tiny data/tiny
    python benchmarks/gpu_check.py data/tiny --out DIR [--at-once 8] [--only "NAME;..."]

A small Qwen3 in bfloat16 with a mixture of the nine tasks of the tiny recipe. `estimator` is what
measured, `error` what the run's own check against one backward a task found, over the largest score
and with what it allows; `left` how many tokens of the budget, less than a step's. Runs keep their
logs in DIR.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_recipe import DEVICE, history, last_words, recipe, start, write_model
from meta_steps import Shape

SHAPE = Shape("Qwen3, 4 layers of 256", 256, 768, 4, 4, 2, 64, 4096, 0, 0, 0)
BUDGET = 6000
LIGER = "axolotl.integrations.liger.LigerPlugin"
PRODUCTS = {"measure": "products", "rule": "steps", "update_every": 4, "start_after": 0}
LORA = {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "lora_target_linear": True}
KERNELS = {"lora_mlp_kernel": True, "lora_qkv_kernel": True, "lora_o_kernel": True}
FUSED = {"liger_fused_linear_cross_entropy": True}
LAYERS = {"liger_rope": True, "liger_rms_norm": True, "liger_glu_activation": True}
PACKED = {"sample_packing": True, "eval_sample_packing": False, "pad_to_sequence_len": True}
FLEX = {**PACKED, "attn_implementation": "flex_attention", "torch_compile": True}
FSDP = {
    "fsdp_version": 2,
    "fsdp_config": {
        "reshard_after_forward": True,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "Qwen3DecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
    },
}
OFFLOADED = {**FSDP, "fsdp_config": {**FSDP["fsdp_config"], "offload_params": True}}


@dataclass(frozen=True)
class Variant:
    """Keys that one run sets beside the base recipe.

    Attributes:
        keys: of the YAML.
        learned: of `adapt.learned`.
        mixture: of `adapt`.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    learned: dict[str, Any] = field(default_factory=dict)
    mixture: str = "learned"


def products(estimator: str = "auto", /, **keys: Any) -> Variant:
    return Variant(keys, {**PRODUCTS, "estimator": estimator})


VARIANTS = {
    "losses": Variant(),
    "losses, packed": Variant(PACKED),
    "losses, Liger's fused loss and layers": Variant({**FUSED, **LAYERS}),
    "losses, LoRA with kernels": Variant({**LORA, **KERNELS}),
    "losses, FSDP2": Variant(FSDP),
    "losses, FSDP2 with offload_params": Variant(OFFLOADED),
    "losses, compiled": Variant({"torch_compile": True}),
    "losses, compiled flex attention": Variant(FLEX),
    "uniform, FSDP2 with offload_params": Variant(OFFLOADED, mixture="uniform"),
    "products": products(),
    "products, float32": products(bf16=False),
    "products, one backward a task": products("per_task"),
    "products, finite difference": products("finite_difference"),
    "products, micro-batches of one task": products("split_batches"),
    "products, packed": products(**PACKED),
    "products, gradient checkpointing": products(gradient_checkpointing=True),
    "products, Liger's fused loss": products(**FUSED),
    "products, Liger's layers": products(**LAYERS),
    "products, Liger's loss": products(liger_cross_entropy=True),
    "products, LoRA": products(**LORA, lora_mlp_kernel=False),
    "products, LoRA with kernels": products(**LORA, **KERNELS),
    "products, LoRA with kernels, fused loss": products(**LORA, **KERNELS, **FUSED, **LAYERS),
    "products, QLoRA": products(
        **{**LORA, "adapter": "qlora"}, load_in_4bit=True, lora_mlp_kernel=False
    ),
    "products, QLoRA with kernels": products(
        **{**LORA, "adapter": "qlora"}, load_in_4bit=True, **KERNELS
    ),
    "products, DoRA": products(**LORA, peft_use_dora=True, lora_mlp_kernel=False),
    "products, compiled": products(torch_compile=True),
    "products, compiled flex attention": products(**FLEX),
    "products, 8-bit AdamW": products(optimizer="adamw_bnb_8bit"),
    "products, FSDP2": products(**FSDP),
    "products, FSDP2, fused loss": products(**FSDP, **FUSED),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiny", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--only", default=";".join(VARIANTS), help="names, with ; between")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    model = write_model(SHAPE, arguments.tiny.resolve() / "model", out / "model")
    waiting = arguments.only.split(";")
    running: dict[str, subprocess.Popen[str]] = {}
    while waiting or running:
        while waiting and len(running) < arguments.at_once:
            name = waiting.pop(0)
            config = config_of(VARIANTS[name], model, arguments.tiny.resolve() / "data", out, name)
            running[name] = start(config, folder_of(out, name), **environment_of(name))
        running = {name: run for name, run in running.items() if run.poll() is None}
        time.sleep(0.5)
    print(f"{SHAPE.name}, {BUDGET:,} supervised tokens, {DEVICE}")
    print("| run | meta steps | estimator | error | left | |")
    print("| --- | ---: | --- | --- | ---: | --- |")
    for name in arguments.only.split(";"):
        print(f"| {name} | {line_of(name, out)} |")


def folder_of(out: Path, name: str) -> Path:
    return out / "".join(letter if letter.isalnum() else "_" for letter in name)


def environment_of(name: str) -> dict[str, str]:
    """One process that joins a group of its own, where FSDP2 is asked for."""
    if "FSDP2" not in name:
        return {}
    port = 29_500 + list(VARIANTS).index(name)
    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def config_of(variant: Variant, model: Path, data: Path, out: Path, name: str) -> dict[str, Any]:
    config = recipe(model, data, folder_of(out, name))
    config["dataset_prepared_path"] = str(folder_of(out, name) / "prepared")
    config["adapt"] = {"token_budget": BUDGET, "mixture": variant.mixture}
    if variant.mixture == "learned":
        config["adapt"]["learned"] = variant.learned or {"start_after": "5%"}
    if any(key.startswith("liger_") for key in variant.keys):
        config["plugins"] = [*config["plugins"], LIGER]
    shape = {"sequence_len": 128, "micro_batch_size": 16, "gradient_accumulation_steps": 2}
    return {**config, **shape, **variant.keys}


def line_of(name: str, out: Path) -> str:
    """What the run left, or its last words."""
    folder = folder_of(out, name)
    lines = history(folder)
    ledger = folder / "adapt" / "ledger.json"
    if not ledger.is_file():
        return f"| | | | {last_words(folder)[:300]}"
    report = json.loads(ledger.read_text(encoding="utf-8"))
    measured = [line["estimator"] for line in lines if line["estimator"]]
    said = (folder / "log.txt").read_text(encoding="utf-8")
    error = re.search(r"agrees with one backward a task to ([^)]*\))", said)
    obstacle = re.search(r"[^\n]*does not fit this model[^\n]*", said)
    return (
        f"{len(measured)} | {', '.join(sorted(set(measured)))} | {error[1] if error else ''} | "
        f"{BUDGET - report['used']} | {obstacle[0][-300:] if obstacle else ''}"
    )


if __name__ == "__main__":
    main()
