"""Where a run came from: versions and the state of the recipe's repository."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "adapt-axolotl",
    "axolotl",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "peft",
    "deepspeed",
)


def provenance(folder: Path) -> dict[str, Any]:
    """Versions of what matters, and commit and dirty flag of the repository around `folder`
    (None outside a repository)."""
    return {"versions": versions(), "git": git_state(folder)}


def versions() -> dict[str, str | None]:
    """Installed version of each package, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    if shutil.which("git") is None:
        return None

    def ask(*words: str) -> str | None:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain"))}
