"""Which experiment trackers that a recipe names send nothing, because they stay off or offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Axolotl switches a tracker on by use_<tracker>, and by one of its other keys whatever that says.
_STARTED_BY = {
    "wandb": "wandb_project",
    "mlflow": "mlflow_experiment_name",
    "comet": "comet_project_name",
    "swanlab": "swanlab_project",
    "trackio": "trackio_project_name",
}
# Of these trackers: the key and the values under which they write to this machine only. Trackio has
# none, because Transformers publishes its dashboard at the end of a run.
_OFFLINE: dict[str, tuple[str, tuple[Any, ...]]] = {
    "wandb": ("wandb_mode", ("offline", "disabled", "dryrun")),
    "comet": ("comet_online", (False,)),
    "swanlab": ("swanlab_mode", ("local", "offline", "disabled")),
}
# A place that MLflow writes to as files or as a database in a file.
_LOCAL_STORES = ("./", "file:./", "file:///", "sqlite:///")
# Keys that send a message by themselves, whatever the tracker's mode.
_MESSAGES = "swanlab_lark_"


def sends_nothing(recipe: Mapping[str, Any], key: str) -> bool:
    """Whether a top-level key belongs to a tracker that is off or offline in this recipe."""
    if key.startswith(_MESSAGES):
        return False
    tracker = key.removeprefix("use_").partition("_")[0]
    if tracker not in _STARTED_BY:
        return False
    if not (recipe.get(f"use_{tracker}") or recipe.get(_STARTED_BY[tracker])):
        return True
    if tracker == "mlflow":
        return str(recipe.get("mlflow_tracking_uri")).startswith(_LOCAL_STORES)
    mode, offline = _OFFLINE.get(tracker, ("", ()))
    return recipe.get(mode) in offline
