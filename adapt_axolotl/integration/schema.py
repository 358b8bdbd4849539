"""What Axolotl's schema says of a recipe, without running anything that the recipe names."""

from __future__ import annotations

import difflib
import importlib.util
import pkgutil
import re
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ValidationError

from adapt_axolotl.config import axolotl_says
from adapt_axolotl.integration.compat import AxolotlInputConfig, SFTDataset
from adapt_axolotl.recipe.read import PLUGIN
from adapt_axolotl.recipe.safety.dangers import names_own_package

# Keys of Axolotl's that are no field of its schema, because the plugin or the loader takes them.
_TAKEN = {"adapt"}


def schema_mistakes(recipe: dict[str, Any]) -> list[str]:
    """What Axolotl's schema refuses, and what it would drop without a word. Its own command would
    import the recipe's plugins first; the schema by itself imports nothing of the recipe."""
    found = []
    # With plugins of others their keys cannot be told from slips.
    if all(str(one) == PLUGIN for one in recipe.get("plugins") or []):
        found += _unknown(recipe, "", {*AxolotlInputConfig.model_fields, *_TAKEN})
    for where, entry in _entries(recipe):
        found += _unknown(entry, f"{where}.", {*SFTDataset.model_fields, "task"})
    asked: dict[str, Any] = {str(key): value for key, value in recipe.items() if key not in _TAKEN}
    for key in ("datasets", "test_datasets"):  # its checks break on entries that are no blocks
        if isinstance(asked.get(key), list):
            asked[key] = [entry for entry in asked[key] if isinstance(entry, dict)]
    try:
        AxolotlInputConfig(**asked)
    except (AttributeError, KeyError, TypeError) as error:
        found.append(f"recipe: Axolotl's schema breaks on it ({error}); look at the keys' types")
    except ValidationError as error:
        found += [f"{mistake}; correct it" for mistake in axolotl_says(error)]
    return found


def type_mistakes(recipe: dict[str, Any]) -> list[str]:
    """Dataset types that Axolotl does not know, which it says only once the rows are loaded."""
    package = importlib.util.find_spec("axolotl.prompt_strategies")
    assert package is not None
    assert package.submodule_search_locations is not None
    modules = {one.name for one in pkgutil.iter_modules(package.submodule_search_locations)}
    found = []
    for where, entry in _entries(recipe):
        kind = entry.get("type")
        if not isinstance(kind, str) or names_own_package(kind):
            continue
        # module, module.load_function, or built-in:style.
        known = set() if ":" in kind else modules
        name = re.split("[.:]", kind)[0]
        if name not in known and "." not in kind:
            known = known | _types_built_in()
        if name not in known:
            close = difflib.get_close_matches(kind, known, n=1)
            meant = f"did you mean {close[0]}?" if close else "take one of Axolotl's"
            found.append(f"{where}.type: Axolotl has no type {kind}; {meant}")
    return found


def _entries(recipe: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, entry) of all datasets that are blocks of keys."""
    for key in ("datasets", "test_datasets"):
        for number, entry in enumerate(recipe.get(key) or []):
            if isinstance(entry, dict):
                yield f"{key}[{number}]", entry


def _types_built_in() -> set[str]:
    """Those that are no modules of their own, such as alpaca; slow to import."""
    from adapt_axolotl.integration.compat import DATASET_HANDLERS

    return set(DATASET_HANDLERS)


def _unknown(keys: dict[str, Any], where: str, known: Collection[str]) -> list[str]:
    """Keys that Axolotl would drop, with the likely meaning."""
    found = []
    for key in (str(one) for one in keys):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = f"did you mean {close[0]}?" if close else "remove it"
            found.append(f"{where}{key}: Axolotl has no such key and would drop it; {meant}")
    return found
