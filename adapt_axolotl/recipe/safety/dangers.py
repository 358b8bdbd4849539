"""What a stranger's recipe could do beyond training on what one sees in it.

Nothing that the recipe names is imported or executed, and nothing opened here but a DeepSpeed
config, which is JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from adapt_axolotl.recipe.names import PLUGIN, TRAINER
from adapt_axolotl.recipe.safety.trackers import sends_nothing

KINDS = {
    "remote_code": "runs code that comes with a model, a dataset or a checkpoint, or from the hub",
    "plugins": "imports a plugin or a trainer",
    "imports": "imports Python code by its name",
    "paths": "reads or writes outside of the working directory",
    "uploads": "sends models, data or metrics elsewhere",
}
# Axolotl's plugins that only change how a model computes. Others send rows away, clone and start
# what the recipe names, or read tasks that are code.
_PLAIN_PLUGINS = tuple(
    f"axolotl.integrations.{name}."
    for name in ("cut_cross_entropy", "densemixer", "grokfast", "liger", "spectrum")
)
_PLAIN_DATA = ("json", "csv", "parquet", "arrow", "text")
_TRUE_RUNS_CODE = ("trust_remote_code", "use_kernels", "allow_all_kernels")
_UPLOADS = ("hub_", "push_", "wandb_", "mlflow_", "comet_", "swanlab_", "trackio_")
_REPORTERS = (
    "use_wandb",
    "use_mlflow",
    "use_comet",
    "use_swanlab",
    "use_trackio",
    "use_otel_metrics",
    "gradio_share",
)
_IMPORTS = (
    "reward_funcs",
    "rollout_func",
    "reward_processes",
    "env_class",
    "serve_module",
    "torchdistx_path",
)


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
    """All of a recipe, in its order; what aliases repeat is told once."""
    found: dict[tuple[str, str], Danger] = {}
    for leaf in leaves(_with_deepspeed(recipe)):
        quiet = leaf.path == leaf.key and sends_nothing(recipe, leaf.key)
        kind = _kind(leaf.path, leaf.key, leaf.value, quiet=quiet)
        if kind is not None:
            found.setdefault((kind, leaf.written), Danger(kind, leaf.path, str(leaf.value)))
    return list(found.values())


def _kind(path: str, key: str, value: Any, *, quiet: bool) -> str | None:
    if value and _runs_code(path, key, value):
        return "remote_code"
    if key in ("plugins", "trainer_cls"):
        return None if value is None or _plain_plugin(str(value)) else "plugins"
    own_type = key == "type" and "dataset" in path and names_own_package(value)
    if own_type or (key in _IMPORTS and value):
        return "imports"
    tracker = path.endswith((".wandb.enabled", ".comet.enabled"))  # of DeepSpeed
    if value and not quiet and (tracker or key in _REPORTERS or key.startswith(_UPLOADS)):
        return "uploads"
    if not isinstance(value, str) or _is_model_here(path, value):
        return None
    return "paths" if _leaves_directory(value) else None


def _is_model_here(path: str, value: str) -> bool:
    """A folder with the model to start from, wherever it lies: it is only read, and code in it runs
    with `trust_remote_code` alone, which is a danger of its own."""
    return path == "base_model" and os.path.isdir(value)


def _runs_code(path: str, key: str, value: Any) -> bool:
    if key in _TRUE_RUNS_CODE:
        return True
    if key.endswith("attn_implementation"):
        return "/" in str(value)  # a kernel's name on the hub
    if key == "ds_type" and "dataset" in path:
        return str(value) not in _PLAIN_DATA  # pandas reads pickles, which are programs
    # Its optimizer state is a pickle; a folder that is not there is a mistake and no danger.
    return key == "resume_from_checkpoint" and os.path.exists(os.path.expanduser(str(value)))


def _plain_plugin(name: str) -> bool:
    return name in (PLUGIN, TRAINER) or name.startswith(_PLAIN_PLUGINS)


def names_own_package(dataset_type: Any) -> bool:
    """Axolotl takes what stands before the last dot for a package of one's own, unless the last
    word is a function of its own strategies, as in `sharegpt.load_role`."""
    if not isinstance(dataset_type, str) or "." not in dataset_type:
        return False
    last = dataset_type.rpartition(".")[2]
    return last != "load" and not last.startswith("load_")


def _leaves_directory(text: str) -> bool:
    if text.startswith(("/", "~", "${")) or "://" in text:
        return True
    if "\n" in text:
        return False
    if ".." in PurePath(text.replace("\\", "/")).parts:
        return True
    if not os.path.lexists(text):
        return False
    # What stands here may be a link to elsewhere.
    return not Path(text).resolve().is_relative_to(Path.cwd().resolve())


def _with_deepspeed(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe with the settings of a local DeepSpeed file beside the file's name."""
    file = recipe.get("deepspeed")
    if not isinstance(file, str) or _leaves_directory(file) or not os.path.isfile(file):
        return recipe
    try:
        settings = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return recipe  # DeepSpeed cannot read it either
    return {**recipe, "deepspeed": [file, settings]}


class Leaf(NamedTuple):
    """A value that is no mapping or list.

    Attributes:
        path: where it is used.
        key: the last one of its path.
        written: where it stands in the file: of what an alias repeats, the first path.
    """

    path: str
    key: str
    value: Any
    written: str


def leaves(recipe: Mapping[str, Any]) -> Iterator[Leaf]:
    """All leaves. A part that an alias repeats means something else under another key and is gone
    through again there, but once for each, so that a small file cannot grow without end."""
    first_path: dict[int, str] = {}
    seen: set[tuple[int, str, str]] = set()
    stack = [Leaf("", "", recipe, "")]
    while stack:
        path, key, value, written = leaf = stack.pop()
        if not isinstance(value, Mapping | list):
            yield leaf
            continue
        top = re.split(r"[.\[]", path, maxsplit=1)[0]
        if (id(value), key, top) in seen:
            continue
        seen.add((id(value), key, top))
        written = first_path.setdefault(id(value), written)
        if isinstance(value, Mapping):
            parts = [(f".{k}", str(k), v) for k, v in value.items()]
        else:
            parts = [(f"[{n}]", key, v) for n, v in enumerate(value)]
        stack += [
            Leaf((path + step).lstrip("."), k, v, (written + step).lstrip("."))
            for step, k, v in reversed(parts)
        ]
