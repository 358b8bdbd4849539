"""Recipes and runs of the benchmarks on an accelerator: a Qwen3 from its config, random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from chat_entries import entries
from meta_steps import Shape

ROOT = Path(__file__).resolve().parent.parent
DEVICE = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU (no accelerator found)"


def write_model(shape: Shape, tokenizer: Path, folder: Path) -> Path:
    """A folder with the config of that shape and the tokenizer of another; `reinit_weights: true`
    makes the weights."""
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "layer_types": ["full_attention"] * shape.layers,
        "max_window_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "head_dim": shape.head_dim,
        "initializer_range": 0.02,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": 32_768,
    }
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder


def recipe(model: Path, data: Path, folder: Path) -> dict[str, Any]:
    """A learned mixture of all tasks in `data`, in bfloat16 where there is an accelerator."""
    tasks = sorted(file.parent.name for file in data.glob("*/train.jsonl"))
    return {
        "base_model": str(model),
        "reinit_weights": True,
        "plugins": ["adapt_axolotl.AdaptPlugin"],
        "trainer_cls": "adapt_axolotl.trainer.AdaptTrainer",
        "adapt": {"token_budget": "100%", "mixture": "learned"},
        "datasets": entries(data, tasks, "train"),
        "test_datasets": entries(data, tasks, "validation"),
        "dataset_prepared_path": str(folder.parent / "prepared"),
        "output_dir": str(folder),
        "optimizer": "adamw_torch",
        "learning_rate": 1e-4,
        "lr_scheduler": "cosine",
        "warmup_ratio": 0.05,
        "seed": 7,
        "bf16": torch.cuda.is_available(),
        "fp16": False,
        "tf32": False,
        "attn_implementation": "sdpa",
        "dataset_num_proc": 1,
        "logging_steps": 1,
        "save_strategy": "no",
    }


def start(config: dict[str, Any], folder: Path, **variables: str) -> subprocess.Popen[str]:
    """`axolotl train` in a process of its own; what it prints goes to `folder/log.txt`. What an
    earlier run left in the folder goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "axolotl.cli.main", "train", str(file)]
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [*command, "--launcher", "python"],
        cwd=ROOT,
        stdout=(folder / "log.txt").open("w", encoding="utf-8"),
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([here, str(ROOT), os.environ.get("PYTHONPATH", "")]),
            **variables,
        },
    )


def history(folder: Path) -> list[dict[str, Any]]:
    """The meta steps of a run that has ended; empty where it wrote none."""
    file = folder / "adapt" / "history.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def last_words(folder: Path) -> str:
    """The last line that a run printed."""
    lines = (folder / "log.txt").read_text(encoding="utf-8").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
