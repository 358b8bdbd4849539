"""Everything that is wrong with a recipe, or needs the user's word, at once."""

from __future__ import annotations

import difflib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.config import axolotl_says
from adapt_axolotl.recipe import PLUGIN, mistakes, wrong_kinds
from adapt_axolotl.recipe_text import repeated_keys
from adapt_axolotl.validating.dangers import KINDS, Danger, dangers, names_own_package
from adapt_axolotl.validating.licences import hub_datasets, licence

# Keys of Axolotl's that are no field of its schema, because the plugin or the loader takes them.
_TAKEN = {"adapt"}


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        recipe: the file.
        mistakes: with these it does not train as written.
        dangers: what it could do that was not allowed.
        licences: of datasets on the hub, by name.
    """

    recipe: str
    mistakes: list[str]
    dangers: list[Danger]
    licences: dict[str, str]

    @property
    def passed(self) -> bool:
        return not self.mistakes and not self.dangers

    def lines(self) -> list[str]:
        """For the terminal."""
        return [
            f"{self.recipe}: {'fine' if self.passed else 'not accepted'}",
            *(f"  mistake  {one}" for one in self.mistakes),
            *(
                f"  danger   {one.key}: {one.value}: {KINDS[one.kind]}; --allow {one.kind} "
                "accepts it"
                for one in self.dangers
            ),
            *(f"  licence  {name}: {one}" for name, one in self.licences.items()),
        ]


def validate(file: Path, allow: Collection[str] = ()) -> Verdict:
    """
    Args:
        allow: kinds of dangers to accept, or `all`.

    Raises:
        ValueError: `allow` names no kind.
    """
    if unknown := set(allow) - {*KINDS, "all"}:
        raise ValueError(
            f"--allow {', '.join(sorted(unknown))}: no such kind; there are all, {', '.join(KINDS)}"
        )
    try:
        text = file.read_text(encoding="utf-8")
        recipe: Any = yaml.safe_load(text)
        twice = repeated_keys(text)
    except (FileNotFoundError, IsADirectoryError):
        return Verdict(str(file), ["there is no such file; correct the path"], [], {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return Verdict(str(file), [f"is not plain YAML ({error}); correct it there"], [], {})
    except RecursionError:
        return Verdict(str(file), ["is nested too deeply; write it flatter"], [], {})
    if not isinstance(recipe, dict):
        return Verdict(str(file), ["is no recipe; write keys such as base_model:"], [], {})
    found = [*twice, *wrong_kinds(recipe)]
    if not found:
        found = [
            *_plugin(recipe),
            *_base_model(recipe),
            *_axolotl_mistakes(recipe),
            *_dataset_types(recipe),
            *mistakes(recipe),
        ]
    left = [one for one in dangers(recipe) if "all" not in allow and one.kind not in allow]
    return Verdict(str(file), found, left, {name: licence(name) for name in hub_datasets(recipe)})


def _plugin(recipe: dict[str, Any]) -> list[str]:
    if PLUGIN in (recipe.get("plugins") or []):
        return []
    return [f"plugins: does not list {PLUGIN}; add it (adapt-axolotl init does)"]


def _base_model(recipe: dict[str, Any]) -> list[str]:
    """A folder that is not there; of the hub's names nothing is known here."""
    name = str(recipe.get("base_model") or "")
    local = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if not local or os.path.isdir(os.path.expanduser(name)):
        return []
    return [f"base_model: there is no folder {name}; correct the path, or make the model first"]


def _axolotl_mistakes(recipe: dict[str, Any]) -> list[str]:
    """What Axolotl's schema refuses, and what it would drop without a word. Its own command would
    import the recipe's plugins first; the schema by itself imports nothing of the recipe."""
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.datasets import SFTDataset
    from pydantic import ValidationError

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


def _dataset_types(recipe: dict[str, Any]) -> list[str]:
    """Types that Axolotl does not know, of which it speaks only once the rows are loaded."""
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
    from axolotl.utils.data.wrappers import DATASET_HANDLERS

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
