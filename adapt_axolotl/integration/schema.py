"""What Axolotl's schema says of a recipe, without running anything that the recipe names."""

from __future__ import annotations

import difflib
import importlib.util
import pkgutil
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapt_axolotl.config.adapt import axolotl_says
from adapt_axolotl.integration.compat import AxolotlInputConfig, SFTDataset
from adapt_axolotl.integration.used import DATASET_TYPES
from adapt_axolotl.recipe.names import PLUGIN
from adapt_axolotl.recipe.safety.dangers import names_own_package

# Packages of Axolotl's dataset types without supervised rows, and what theirs are.
_NO_ROWS = {
    **dict.fromkeys(("dpo", "kto", "orpo"), "preferences between answers"),
    **dict.fromkeys(("bradley_terry", "stepwise_supervised"), "rewards of answers"),
    "ebft": "rollouts",
}
# Keys of Axolotl's that are no field of its schema, because the plugin or the loader takes them.
_TAKEN = {"adapt"}
_REQUIRED = ": Field required"  # in pydantic's words


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
        found += [
            f"{mistake.removesuffix(_REQUIRED)}: missing; add it"
            if mistake.endswith(_REQUIRED)
            else f"{mistake}; correct it"
            for mistake in axolotl_says(error)
        ]
    return found


def type_mistakes(recipe: dict[str, Any]) -> list[str]:
    """Dataset types that Axolotl does not know, which it says only once the rows are loaded."""
    modules = _modules()
    found = preference_types(recipe)
    refused = {mistake.partition(":")[0] for mistake in found}
    for where, entry in _entries(recipe):
        kind = entry.get("type")
        if not isinstance(kind, str) or names_own_package(kind) or f"{where}.type" in refused:
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


def preference_types(recipe: dict[str, Any]) -> list[str]:
    """Dataset types whose rows are pairs to prefer, rewards or rollouts. Axolotl keeps them in
    packages beside the types of supervised rows, and says only that it cannot load them."""
    packages = set().union(*map(_modules, _NO_ROWS))
    found = []
    for where, entry in _entries(recipe):
        kind = entry.get("type")
        if not isinstance(kind, str):
            continue
        first = re.split("[.:]", kind)[0]
        # chat_template.argilla is one of theirs, chat_template alone is not.
        theirs = names_own_package(kind) and first in packages and not _importable(first)
        if first in _NO_ROWS or theirs:
            what = _NO_ROWS.get(first, "preferences between answers")
            found.append(
                f"{where}.type: {kind} reads {what}, which have no supervised tokens to budget; "
                "take a type of supervised rows, such as chat_template or alpaca, and give it the "
                "answers to learn"
            )
    return found


def _modules(package: str = "") -> set[str]:
    """Names of the modules in a package of Axolotl's dataset types, by listing: nothing is
    imported."""
    spec = importlib.util.find_spec(DATASET_TYPES)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folders = [str(Path(place, package)) for place in spec.submodule_search_locations]
    return {one.name for one in pkgutil.iter_modules(folders)}


def _importable(name: str) -> bool:
    """Whether there is a package of this name; it is not imported."""
    return importlib.util.find_spec(name) is not None


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
