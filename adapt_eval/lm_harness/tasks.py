"""The tasks behind a suite's benchmarks: data read, prompts not yet made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import lm_eval
from lm_eval.api.task import ConfigurableTask

from adapt_eval import mirror
from adapt_eval.errors import RunFailed
from adapt_eval.lm_harness import stock
from adapt_eval.lm_harness.manager import MirroredTaskManager
from adapt_eval.lm_harness.metric import check_metric
from adapt_eval.lm_harness.patches import quiet
from adapt_eval.lm_harness.seeds import SEEDS
from adapt_eval.suite import Benchmark


@dataclass(frozen=True)
class Prepared:
    """A benchmark whose tasks are built.

    Attributes:
        name: of lm-eval's task or group; another than the benchmark's under the chat profile.
        leaves: name -> task, without groups.
        data: hub path -> where it was read from.
        settings: what makes scores comparable; the same on both sides of a comparison.
        template: whether prompts go through the chat template.
        multiturn: whether examples are then turns of the conversation.
        manager: which built the tasks and keeps them until they are measured.
    """

    benchmark: Benchmark
    name: str
    leaves: Mapping[str, ConfigurableTask]
    data: Mapping[str, str]
    settings: Mapping[str, Any]
    template: bool
    multiturn: bool
    manager: MirroredTaskManager = field(repr=False)

    @property
    def generates(self) -> bool:
        """Whether all answers are generated, none ranked."""
        return _generate(self.leaves)

    def items(self, limit: int | None) -> int:
        """How many items will be asked; the limit holds for each task of a group."""
        sizes = [len(task.eval_docs) for task in self.leaves.values()]
        return sum(min(size, limit) if limit else size for size in sizes)


class Tasks:
    """The task files of a suite.

    Args:
        benchmarks: whose files are indexed.
        roots: mirrors; the first that has a dataset is read.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], roots: Sequence[Path]) -> None:
        own = Path(str(files("adapt_eval").joinpath("tasks")))
        owned = {path.stem for path in own.rglob("*.yaml")}
        folders = {str(stock.FOLDER / one.folder) for one in benchmarks if one.folder}
        everything = any(not one.folder and one.task not in owned for one in benchmarks)
        self._manager = MirroredTaskManager(
            roots,
            include_path=[*sorted(folders), str(own)],
            include_defaults=everything,
        )

    def prepare(
        self,
        benchmark: Benchmark,
        chat: bool,
        template_everywhere: bool = False,
        multiturn: bool = True,
    ) -> Prepared:
        """Read the data of one benchmark and build its tasks.

        Args:
            chat: ask for generated answers through the chat template, and take the variants of
                benchmarks that are made for it.
            template_everywhere: rank answers through it too.
            multiturn: with a template, examples are turns of the conversation.

        Raises:
            ValueError: there is no such task, or its metric cannot be compared item by item.
            RunFailed: the data is neither in a mirror nor on the Hub.
        """
        name = (benchmark.chat_task or benchmark.task) if chat else benchmark.task
        if name not in self._manager.all_tasks:
            raise ValueError(f"lm-eval has no task {name!r}; see `lm-eval ls tasks`")
        self._manager.data, self._manager.shots = {}, benchmark.shots
        try:
            with quiet():
                tasks = self._manager.load_task_or_group([name])
        except (OSError, KeyError, datasets.exceptions.DatasetNotFoundError) as error:
            raise RunFailed(_no_data(benchmark, self._manager.data, error)) from error
        leaves = dict(_leaves(tasks))
        _check_column(benchmark, leaves)
        check_metric(benchmark, leaves)
        templated = template_everywhere or (chat and _generate(leaves))
        self._manager.ready[name] = tasks
        return Prepared(
            benchmark,
            name,
            leaves,
            dict(self._manager.data),
            _settings(name, benchmark, leaves, templated, multiturn),
            templated,
            templated and multiturn,
            self._manager,
        )

    def sources(self, benchmark: Benchmark) -> dict[str, set[str | None]]:
        """Hub path -> configurations that the tasks of a benchmark read."""
        found: dict[str, set[str | None]] = {}
        for name in {benchmark.task, benchmark.chat_task or benchmark.task}:
            for hub_path, configuration in self._manager.sources(name):
                found.setdefault(hub_path, set()).add(configuration)
        return found


def _settings(
    name: str,
    benchmark: Benchmark,
    leaves: Mapping[str, ConfigurableTask],
    template: bool,
    multiturn: bool,
) -> dict[str, Any]:
    # Turns are the rule under a template, and no key of earlier versions.
    turns = {"fewshot_as_multiturn": False} if template and not multiturn else {}
    return {
        "task": name,
        "versions": {leaf: str(task.VERSION) for leaf, task in leaves.items()},
        "shots": benchmark.shots,
        "metric": benchmark.metric,
        "generation": {
            leaf: task.config.generation_kwargs
            for leaf, task in leaves.items()
            if task.OUTPUT_TYPE == "generate_until"
        },
        "chat_template": template,
        **turns,
        "lm_eval": lm_eval.__version__,
        "seeds": SEEDS,
    }


def _leaves(tasks: Mapping[Any, Any]) -> Iterator[tuple[str, ConfigurableTask]]:
    for name, task in tasks.items():
        if isinstance(task, Mapping):
            yield from _leaves(task)
        else:
            yield str(name), task


def _generate(leaves: Mapping[str, ConfigurableTask]) -> bool:
    return all(one.OUTPUT_TYPE == "generate_until" for one in leaves.values())


def _check_column(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask]) -> None:
    """The column that tells clusters apart must exist; better known before the model is asked."""
    if benchmark.cluster in ("", "subtask"):
        return
    for leaf in leaves.values():
        columns = list(leaf.eval_docs[0]) if len(leaf.eval_docs) else []
        if columns and benchmark.cluster not in columns:
            raise ValueError(
                f"{benchmark.task}: its documents have no column {benchmark.cluster!r}, only "
                f"{', '.join(columns)}. Change `cluster:` in the suite"
            )


def _no_data(benchmark: Benchmark, data: Mapping[str, str], error: Exception) -> str:
    missing = [path for path, where in data.items() if path == where] or list(data)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    remedy = (
        "the environment forbids the Hub (HF_HUB_OFFLINE): give a mirror with --data-root DIR"
        if mirror.offline()
        else "give a mirror with --data-root DIR (adapt-eval fetch fills one) or a network"
    )
    return (
        f"{benchmark.task}: no data of {', '.join(missing)} ({reason}); {remedy}, or leave it out "
        f"with --skip {benchmark.task}"
    )
