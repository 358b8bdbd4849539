"""Everything that is wrong with a recipe, or needs the user's word, at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.integration.chat_templates import template_mistakes
from adapt_axolotl.integration.data_mistakes import data_mistakes
from adapt_axolotl.integration.schema import schema_mistakes, type_mistakes
from adapt_axolotl.integration.this_machine import lora_kernel_obstacle, resolved_lora_mlp_kernel
from adapt_axolotl.recipe.base_model import missing_folder
from adapt_axolotl.recipe.edit import repeated_keys
from adapt_axolotl.recipe.names import PLUGIN
from adapt_axolotl.recipe.read import mistakes, wrong_kinds
from adapt_axolotl.recipe.safety.dangers import KINDS, Danger, dangers
from adapt_axolotl.recipe.safety.licences import hub_datasets, licence
from adapt_axolotl.run.checkpoint import read_checkpoint

# Sentences that say the same of other datasets are counted above so many.
ALIKE = 3


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        recipe: the file.
        mistakes: with these it does not train as written.
        dangers: what it could do that was not allowed.
        licences: of datasets on the hub, by name.
        notes: what does not stop training, or only on this machine.
    """

    recipe: str
    mistakes: list[str]
    dangers: list[Danger]
    licences: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.mistakes and not self.dangers

    def lines(self) -> list[str]:
        """For the terminal."""
        dangers = [
            f"{one.key}: {one.value} ({KINDS[one.kind]}; --allow {one.kind} accepts it)"
            for one in self.dangers
        ]
        licences = [f"{name}: {one}" for name, one in self.licences.items()]
        return [
            f"{self.recipe}: {self._headline()}",
            *(f"  mistake  {one}" for one in _shortened(self.mistakes)),
            *(f"  danger   {one}" for one in dangers),
            *(f"  note     {one}" for one in _shortened(self.notes)),
            *(f"  licence  {one}" for one in licences),
        ]

    def _headline(self) -> str:
        if self.passed:
            return "accepted"
        if self.mistakes:
            return "not accepted"
        return "no mistakes; accepted once you allow what follows (in your own recipe: --allow all)"


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
    notes: list[str] = []
    if not found:
        found = [
            *_plugin(recipe),
            *_base_model(recipe),
            *schema_mistakes(recipe),
            *type_mistakes(recipe),
            *template_mistakes(recipe),
            *mistakes(recipe),
            *_checkpoint(recipe),
        ]
        data = data_mistakes(recipe)
        found += [one.text for one in data if one.certain]
        notes += [one.text for one in data if not one.certain]
    left = [one for one in dangers(recipe) if "all" not in allow and one.kind not in allow]
    obstacle = None if found else lora_kernel_obstacle(resolved_lora_mlp_kernel(recipe))
    notes += [] if obstacle is None else [obstacle]
    return Verdict(
        str(file),
        found,
        left,
        {name: licence(name) for name in hub_datasets(recipe)},
        notes,
    )


def _shortened(sentences: list[str]) -> list[str]:
    """The first few of those that say the same of several datasets, and how many there are."""
    kinds = Counter(map(_kind, sentences))
    told: Counter[str] = Counter()
    shown = []
    for one in sentences:
        kind = _kind(one)
        told[kind] += 1
        more = kinds[kind] - ALIKE
        if told[kind] <= ALIKE or more == 1:
            shown.append(one)
        elif told[kind] == kinds[kind]:
            shown.append(f"... and {more} more like this, of other datasets (--json lists all)")
    return shown


def _kind(sentence: str) -> str:
    """Without what tells one dataset from another: its number, file and task."""
    return re.sub(r"^(test_)?datasets\[\d+\]|\S+\.(jsonl?|csv|parquet)\b|'[^']*'", "", sentence)


def _plugin(recipe: dict[str, Any]) -> list[str]:
    if PLUGIN in (recipe.get("plugins") or []):
        return []
    return [f"plugins: does not list {PLUGIN}; add it (adapt-axolotl init does)"]


def _checkpoint(recipe: dict[str, Any]) -> list[str]:
    folder = recipe.get("resume_from_checkpoint")
    if not isinstance(folder, str):
        return []
    place = Path(folder).expanduser()
    if not place.is_dir():
        return [
            f"resume_from_checkpoint: there is no folder {folder}; correct the path, or remove the "
            "key to start anew"
        ]
    try:
        read_checkpoint(place)
    except ValueError as error:
        return [str(error)]
    return []


def _base_model(recipe: dict[str, Any]) -> list[str]:
    missing = missing_folder(recipe)
    return [] if missing is None else [missing]
