"""What a stranger's recipe could do beyond training on what one sees in it.

Only the recipe's text is looked at: nothing that it names is imported, opened or executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from adapt_axolotl.recipe import PLUGIN, TRAINER

KINDS = {
    "remote_code": "runs code that comes with a model or a dataset, or from the hub",
    "plugins": "imports a plugin or a trainer",
    "imports": "imports Python code by its name",
    "paths": "reads or writes outside of the working directory",
    "uploads": "sends models, data or metrics elsewhere",
}
_UPLOADS = ("hub_", "push_", "wandb_", "mlflow_", "comet_", "swanlab_", "trackio_")
_REPORTERS = (
    "use_wandb",
    "use_mlflow",
    "use_comet",
    "use_swanlab",
    "use_trackio",
    "use_otel_metrics",
)
# Axolotl's own plugins that send rows away, or clone and start what the recipe names.
_REACHING_OUT = ("axolotl.integrations.hatchery.", "axolotl.integrations.nemo_gym.")
_IMPORTS = ("reward_funcs", "rollout_func", "reward_processes", "env_class")


@dataclass(frozen=True)
class Danger:
    """Something that needs the user's word.

    Attributes:
        kind: of `KINDS`; what `--allow` takes.
        key: where in the recipe.
        value: what stands there.
    """

    kind: str
    key: str
    value: str


def dangers(recipe: Mapping[str, Any]) -> list[Danger]:
    """All of a recipe, in its order."""
    return [
        Danger(kind, path, str(value))
        for path, key, value in _leaves(recipe)
        if (kind := _kind(path, key, value)) is not None
    ]


def _kind(path: str, key: str, value: Any) -> str | None:
    if key in ("trust_remote_code", "use_kernels"):
        return "remote_code" if value else None
    if key == "attn_implementation" and "/" in str(value):  # a kernel's name on the hub
        return "remote_code"
    if key in ("plugins", "trainer_cls"):
        return None if value is None or _ours_or_axolotls(str(value)) else "plugins"
    if (key in _IMPORTS and value) or (key == "type" and "dataset" in path and _imports(value)):
        return "imports"
    if value and (key in _REPORTERS or key.startswith(_UPLOADS)):
        return "uploads"
    return "paths" if isinstance(value, str) and _leaves_directory(value) else None


def _ours_or_axolotls(name: str) -> bool:
    known = name in (PLUGIN, TRAINER) or name.startswith("axolotl.integrations.")
    return known and not name.startswith(_REACHING_OUT)


def _imports(dataset_type: Any) -> bool:
    """Axolotl takes what stands before the last dot for a package of one's own, unless the last
    word is a function of its own strategies, as in `sharegpt.load_role`."""
    if not isinstance(dataset_type, str):
        return False
    name = dataset_type.partition(":")[0]
    return "." in name and not name.rpartition(".")[2].startswith("load")


def _leaves_directory(text: str) -> bool:
    if text.startswith(("/", "~", "${")) or "://" in text:
        return True
    return "\n" not in text and ".." in PurePath(text.replace("\\", "/")).parts


def _leaves(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(path, last key, value) of everything that is no mapping or list. Parts that an alias repeats
    are gone through once, so that a small file cannot grow without end."""
    seen: set[int] = set()
    stack: list[tuple[str, str, Any]] = [("", "", recipe)]
    while stack:
        path, key, value = stack.pop()
        children: Sequence[tuple[str, str, Any]] = ()
        if isinstance(value, Mapping):
            children = [(f"{path}.{k}".lstrip("."), str(k), v) for k, v in value.items()]
        elif isinstance(value, list):
            children = [(f"{path}[{n}]", key, v) for n, v in enumerate(value)]
        else:
            yield path, key, value
            continue
        if id(value) not in seen:
            seen.add(id(value))
            stack += reversed(children)
