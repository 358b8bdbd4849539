"""A `base_model:` that is written as a folder of this machine and is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def missing_folder(recipe: Mapping[str, Any]) -> str | None:
    """One sentence, or None where nothing is missing; of the hub's names nothing is known here."""
    name = str(recipe.get("base_model") or "")
    local = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if not local or os.path.isdir(os.path.expanduser(name)):
        return None
    return f"base_model: there is no folder {name}; correct the path, or make the model first"
