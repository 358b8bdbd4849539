"""Names of repositories on the Hugging Face Hub."""

from __future__ import annotations

import re

_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


def looks_like_hub_name(text: str) -> bool:
    """Whether a text has the form `name` or `owner/name`; asks neither the hub nor the disk."""
    return bool(_NAME.fullmatch(text))
