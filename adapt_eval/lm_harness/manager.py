"""lm-eval's task manager, reading data from mirrors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from lm_eval.tasks import TaskManager

from adapt_eval import mirror


class MirroredTaskManager(TaskManager):
    """Reads task files, replaces Hub paths by mirrors, and hands each prepared task out once.

    Attributes:
        data: hub path -> where it was read from, for the tasks loaded since it was cleared.
        shots: of the benchmark that is loaded next.
        ready: task or group -> its task objects, built and not yet measured.
    """

    def __init__(self, roots: Sequence[Path], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.roots = roots
        self.data: dict[str, str] = {}
        self.shots = 0
        self.ready: dict[str, Mapping[Any, Any]] = {}

    def _get_config(self, name: str) -> dict[str, Any]:
        config: dict[str, Any] = copy.deepcopy(super()._get_config(name))
        hub_path = _hub_path(config)
        if not hub_path or config.get("custom_dataset"):
            return config
        folder = mirror.find(hub_path, self.roots)
        self.data[hub_path] = str(folder or hub_path)
        if folder and "class" in config:
            # A task written as a class names its data in the class: ours differs in that only.
            stock = config["class"]
            config["class"] = type(
                stock.__name__,
                (stock,),
                {"DATASET_PATH": str(folder), "__module__": stock.__module__},
            )
        elif folder:
            config["dataset_path"] = str(folder)
            splits = datasets.get_dataset_split_names(str(folder), config.get("dataset_name"))
            needs_shots = bool(self.shots) and "fewshot_config" not in config
            if config.get("training_split") not in splits and not needs_shots:
                config["training_split"] = None
        return config

    def leaf_names(self, name: str) -> Iterator[str]:
        """The tasks of a group, or the task itself."""
        if not self._name_is_group(name):
            yield name
            return
        for inside in super()._get_config(name)["task"]:
            yield from self.leaf_names(inside if isinstance(inside, str) else inside["task"])

    def sources(self, name: str) -> Iterator[tuple[str, str | None]]:
        """(hub path, configuration) that the tasks of a group, or a task, read."""
        for leaf in self.leaf_names(name):
            config = super()._get_config(leaf)
            hub_path = _hub_path(config)
            if hub_path and "class" in config:
                yield hub_path, config["class"].DATASET_NAME
            elif hub_path:
                yield hub_path, config.get("dataset_name")

    def load_task_or_group(self, task_list: str | list[str] | None = None) -> dict[Any, Any]:
        assert isinstance(task_list, list)
        if all(name in self.ready for name in task_list):
            return {key: one for name in task_list for key, one in self.ready.pop(name).items()}
        loaded: dict[Any, Any] = super().load_task_or_group(task_list)
        return loaded


def _hub_path(config: Mapping[str, Any]) -> str | None:
    found: str | None = config.get("dataset_path") or getattr(
        config.get("class"), "DATASET_PATH", None
    )
    return found
