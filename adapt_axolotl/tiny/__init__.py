"""The embedded default: a small model and a made mixture, the same on every machine, no network."""

from __future__ import annotations

from pathlib import Path


def write_tiny(directory: Path) -> None:
    """Write `directory/model` (config and tokenizer, no weights) and `directory/data` (chat rows of
    every task). The same bytes on every call."""
    from adapt_axolotl.tiny.model import write_model
    from adapt_axolotl.tiny.tasks import TASKS, write_tasks

    write_tasks(directory / "data")
    # The tokenizer is trained on the prompts and answers of all tasks.
    write_model(directory / "model", [row for task in TASKS for row in task.training_rows()])
