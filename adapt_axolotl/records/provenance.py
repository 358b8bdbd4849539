"""Where a run came from: versions, the state of the recipe's repository, the plugin's source."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from adapt_common.provenance import checkout_of, git_state, package_versions

PLUGIN = "adapt-axolotl"
PACKAGES = (
    PLUGIN,
    "axolotl",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "peft",
    "deepspeed",
)


def provenance(folder: Path) -> dict[str, Any]:
    """Versions of what matters, commit and dirty flag of the repository around `folder` (None
    outside a repository), and where the plugin was installed from (as `plugin_source`)."""
    return {
        "versions": package_versions(PACKAGES),
        "git": git_state(folder),
        "plugin": plugin_source(Path(__file__)),
    }


def plugin_source(file: Path) -> dict[str, Any] | None:
    """`{"commit", "dirty", "url"}` of the code that runs: of the checkout that it lies in, without
    an address, or of the repository that pip installed it from. None where neither is known.

    Args:
        file: a file of the package.
    """
    checkout = checkout_of(file)
    if checkout is not None:
        # Of a remote's address nothing is told: it may hold a password.
        return {**checkout, "url": None}
    try:
        installed = distribution(PLUGIN).read_text("direct_url.json")  # PEP 610
    except PackageNotFoundError:
        return None
    origin = json.loads(installed) if installed else {}
    if "commit_id" not in origin.get("vcs_info", {}):
        return None
    return {"commit": origin["vcs_info"]["commit_id"], "dirty": False, "url": origin["url"]}
