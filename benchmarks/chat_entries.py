"""Entries of `datasets` and `test_datasets` for files in chat format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def entries(data: Path, tasks: Sequence[str], split: str) -> list[dict[str, Any]]:
    """For `data/TASK/SPLIT.jsonl` of each task."""
    return [
        {
            "path": str(data / task / f"{split}.jsonl"),
            "task": task,
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "roles_to_train": ["assistant"],
            "train_on_eos": "turn",
            "split": "train",
        }
        for task in tasks
    ]
