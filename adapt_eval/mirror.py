"""Where a benchmark's data is read from: local mirrors in the layout of the Hub, or the Hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path


def find(hub_path: str, roots: Sequence[Path]) -> Path | None:
    """The folder of a dataset in the first mirror that has it.

    Args:
        hub_path: such as `openai/gsm8k`.
        roots: mirrors; `<root>/openai/gsm8k` holds the files of that dataset repository.
    """
    for root in roots:
        folder = root / hub_path
        if folder.is_dir():
            return folder.resolve()
    return None


def check_roots(roots: Sequence[Path]) -> None:
    """
    Raises:
        ValueError: a mirror is no directory.
    """
    for root in roots:
        if not root.is_dir():
            raise ValueError(
                f"--data-root {root}: no such directory; fill one with adapt-eval fetch"
            )


def content_hash(folder: Path) -> str:
    """SHA-256 over names and contents of the files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def use_nltk_data(roots: Sequence[Path]) -> bool:
    """Look for NLTK's data in the mirrors too. Returns whether it has punkt_tab now."""
    import nltk

    for root in roots:
        for folder in (root / "nltk_data", root.parent / "nltk_data"):
            if folder.is_dir() and str(folder) not in nltk.data.path:
                nltk.data.path.append(str(folder))
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def offline() -> bool:
    """Whether the environment forbids the Hub."""
    yes = {"1", "true", "yes", "on"}
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").lower() in yes for name in names)
