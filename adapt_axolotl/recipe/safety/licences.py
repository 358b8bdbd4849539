"""Licences of the datasets that a recipe takes from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt_axolotl.recipe.names import is_hub_name


def hub_datasets(recipe: Mapping[str, Any]) -> list[str]:
    """Names on the hub among the paths of the datasets, each once."""
    lists = [recipe.get(key) for key in ("datasets", "test_datasets")]
    entries = [entry for one in lists if isinstance(one, list) for entry in one]
    paths = [str(entry.get("path")) for entry in entries if isinstance(entry, Mapping)]
    return list(dict.fromkeys(path for path in paths if is_hub_name(path)))


def licence(name: str) -> str:
    """What the hub's card of a dataset gives, or why there is nothing."""
    import httpx
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        card = dataset_info(name, timeout=10).card_data
    except OfflineModeIsEnabled:
        return "unknown: the hub is switched off (HF_HUB_OFFLINE)"
    except HfHubHTTPError as error:
        return f"unknown: {str(error).splitlines()[0]}"
    except (httpx.HTTPError, OSError):
        return "unknown: the hub cannot be reached"
    stated = None if card is None else card.get("license")
    if not stated:
        return "none stated on its card"
    return ", ".join(stated) if isinstance(stated, list) else str(stated)
