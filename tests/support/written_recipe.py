"""A recipe as a file, beside its data: what `validate` looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CHAT = {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant")]}


def good_recipe() -> dict[str, Any]:
    """A recipe that is fine; its data lies in this folder then."""
    for name in ("a", "b"):
        Path(f"{name}.jsonl").write_text(f"{json.dumps(CHAT)}\n" * 8)
    entries = [{"path": f"{name}.jsonl", "type": "chat_template", "task": name} for name in "ab"]
    return {
        "base_model": "org/model",
        "plugins": ["adapt_axolotl.AdaptPlugin"],
        "trainer_cls": "adapt_axolotl.trainer.AdaptTrainer",
        "adapt": {"token_budget": "5%"},
        "datasets": entries,
        "output_dir": "out",
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-4,
        "sequence_len": 64,
        "num_epochs": 1,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
    }


def write(raw: dict[str, Any]) -> Path:
    Path("recipe.yml").write_text(yaml.safe_dump(raw))
    return Path("recipe.yml")
