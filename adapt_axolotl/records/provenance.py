"""Where a run came from: versions and the state of the recipe's repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt_common.provenance import git_state, package_versions

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
    return {"versions": package_versions(PACKAGES), "git": git_state(folder)}
