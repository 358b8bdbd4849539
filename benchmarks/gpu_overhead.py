"""What a mixture adds to a run of `axolotl train` on an accelerator, in time and memory.

    adapt-axolotl tiny data/tiny
    python benchmarks/gpu_overhead.py data/tiny DATA --out DIR [--steps 100] [--repeats 2]

A Qwen3-0.6B from its config, packed rows of DATA (`TASK/{train,validation}.jsonl` in chat format),
bfloat16: whole, with Liger's fused loss, and LoRA with Axolotl's kernels. Axolotl alone, a uniform
mixture, and learned ones at the default price by both measures. `time / alone` is of the time a
step, meta steps and validation losses within the run included, from the eleventh step on, the
median [least, most] of repeats that alternate; `plan` is what `adapt-axolotl plan --gpu` foretells.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_recipe import DEVICE, ROOT, history, last_words, recipe, start, write_model
from meta_steps import QWEN3_06B, SMALL

LIGER = "axolotl.integrations.liger.LigerPlugin"
KINDS: dict[str, dict[str, Any]] = {
    "whole, fused loss": {"liger_fused_linear_cross_entropy": True},
    "LoRA, kernels": {
        "adapter": "lora",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_target_linear": True,
        "lora_mlp_kernel": True,
        "lora_qkv_kernel": True,
        "lora_o_kernel": True,
        "liger_fused_linear_cross_entropy": True,
    },
}
ARMS: dict[str, dict[str, Any] | None] = {
    "alone": None,
    "uniform": {"mixture": "uniform"},
    "learned": {"mixture": "learned"},
    "learned, products": {"mixture": "learned", "learned": {"measure": "products"}},
}
WARM_UP = 10
GIB = 2**30


@dataclass(frozen=True)
class Timed:
    """Of one run: seconds a step, and the most bytes that its device held."""

    seconds: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiny", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kinds", default=";".join(KINDS))
    arguments = parser.parse_args()
    out, data = arguments.out.resolve(), arguments.data.resolve()
    shape = QWEN3_06B if torch.cuda.is_available() else SMALL
    model = write_model(shape, arguments.tiny.resolve() / "model", out / "model")
    print(f"{shape.name}, about {arguments.steps} steps, {DEVICE}")
    print("| training | mixture | ms a step | time / alone | peak, GiB | plan, GiB | meta steps |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in arguments.kinds.split(";"):
        configs = {arm: config_of(kind, arm, model, data, out, arguments.steps) for arm in ARMS}
        found = all_timed(configs, arguments.repeats)
        for arm, runs in found.items():
            print(f"| {kind} | {arm} | {line_of(runs, found['alone'], configs[arm])} |", flush=True)


def config_of(
    kind: str, arm: str, model: Path, data: Path, out: Path, steps: int
) -> dict[str, Any]:
    name = "".join(letter if letter.isalnum() else "_" for letter in f"{kind} {arm}")
    config = recipe(model, data, out / name)
    config |= {
        "sequence_len": 2048,
        "sample_packing": True,
        "eval_sample_packing": False,
        "pad_to_sequence_len": True,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": steps,
        **KINDS[kind],
    }
    config["plugins"] = [*config["plugins"], LIGER, "step_timer.StepTimer"]
    adapt = ARMS[arm]
    if adapt is not None:
        # More than the steps use: the run ends at max_steps, whose schedule this is.
        config["adapt"] = {"token_budget": "100%", **adapt}
        return config
    config["plugins"] = config["plugins"][1:]
    for key in ("trainer_cls", "adapt", "test_datasets"):
        del config[key]
    for entry in config["datasets"]:
        entry.pop("task")
    return config


def all_timed(configs: dict[str, dict[str, Any]], repeats: int) -> dict[str, list[Timed]]:
    """All arms once, one after the other, then all again."""
    found: dict[str, list[Timed]] = {arm: [] for arm in configs}
    for _ in range(repeats):
        for arm, config in configs.items():
            folder = Path(config["output_dir"])
            if start(config, folder).wait() != 0:
                raise SystemExit(f"{folder / 'log.txt'}: {last_words(folder)}")
            told = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
            ended = told["seconds"][WARM_UP:]
            seconds = (ended[-1] - ended[0]) / (len(ended) - 1)
            found[arm].append(Timed(seconds, told["peak_bytes"]))
    return found


def line_of(runs: list[Timed], alone: list[Timed], config: dict[str, Any]) -> str:
    ratios = [mine.seconds / base.seconds for mine, base in zip(runs, alone, strict=True)]
    milliseconds = 1000 * statistics.median(run.seconds for run in runs)
    peak = max(run.peak_bytes for run in runs) / GIB
    folder = Path(config["output_dir"])
    meta_steps = sum(1 for line in history(folder) if line["estimator"])
    return (
        f"{milliseconds:.0f} | {statistics.median(ratios):.3f} [{min(ratios):.3f}, "
        f"{max(ratios):.3f}] | {peak:.1f} | {foretold(config)} | {meta_steps or ''}"
    )


def foretold(config: dict[str, Any]) -> str:
    """GiB by `plan`; empty for Axolotl alone."""
    if "adapt" not in config:
        return ""
    file = Path(config["output_dir"]) / "recipe.yml"
    program = "from adapt_axolotl.commands.cli import main; main()"
    command = [sys.executable, "-c", program, "plan", str(file), "--gpu", "80", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().split("\n")[-1]
    return f"{json.loads(done.stdout)['memory']['total'] / GIB:.1f}"


if __name__ == "__main__":
    main()
