"""The embedded default: a small model and a made mixture, the same on every machine, no network."""

from __future__ import annotations

from pathlib import Path


def write_tiny(directory: Path) -> None:
    """Write `directory/model` (config and tokenizer, no weights) and `directory/data` (chat rows of
    every task). The same bytes on every call."""
    # Here, so that importing this package stays quick: transformers takes seconds.
    from adapt_axolotl.commands.tiny.model import write_model
    from adapt_axolotl.commands.tiny.tasks import write_tasks
    from adapt_axolotl.commands.tiny.tokenizer import make_tokenizer

    write_model(directory / "model", make_tokenizer())
    write_tasks(directory / "data")
