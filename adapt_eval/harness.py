"""The one module that knows lm-eval (0.4.11). What it does about that version's traps:

- one call for each benchmark on one built model, because shots, limit and template are global to a
  call; that also gives resume by benchmark;
- no caches: the response cache is not keyed by model, the request cache not by few-shot seed;
- tasks whose stock files break or mislead are replaced by those under `adapt_eval/tasks`;
- the data of a mirror is put into the task's config before it is built; a training split that the
  mirror lacks is left out where no shots are drawn from it (lm-eval would read it all the same);
- langdetect, which IFEval asks, is seeded;
- only rank 0 of one process: few-shot prompts depend on the number of processes.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import lm_eval.api.task
import lm_eval.evaluator
import lm_eval.models.huggingface
import transformers
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable
from safetensors import SafetensorError

from adapt_eval import mirror
from adapt_eval.errors import RunFailed
from adapt_eval.suite import Benchmark

# lm-eval's own defaults: python, numpy, torch, few-shot.
SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A benchmark whose tasks are built: data read, prompts not yet made.

    Attributes:
        tasks: lm-eval's nested dictionary of task objects.
        leaves: name -> task, without groups.
        data: hub path -> where it was read from.
        settings: what makes scores comparable; the same on both sides of a comparison.
    """

    benchmark: Benchmark
    tasks: Mapping[Any, Any]
    leaves: Mapping[str, ConfigurableTask]
    data: Mapping[str, str]
    settings: Mapping[str, Any]
    chat: bool

    def items(self, limit: int | None) -> int:
        """How many items will be asked; the limit holds for each task of a group."""
        sizes = [len(task.eval_docs) for task in self.leaves.values()]
        return sum(min(size, limit) if limit else size for size in sizes)


@dataclass(frozen=True)
class Measured:
    """What came out of one benchmark.

    Attributes:
        score: the primary metric, exactly as lm-eval reports it.
        metrics: all that lm-eval reports, by its keys; for a group also `subtask/key`.
        rows: one mapping for each item and filter.
    """

    score: float
    metrics: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]] = field(repr=False, default=())


class _Manager(TaskManager):
    """Reads task files; puts mirrors in the place of hub paths; hands prepared tasks out once."""

    def __init__(self, roots: Sequence[Path], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.roots = roots
        self.data: dict[str, str] = {}
        self.shots = 0
        self.ready: dict[str, Mapping[Any, Any]] = {}

    def _get_config(self, name: str) -> dict[str, Any]:
        config: dict[str, Any] = copy.deepcopy(super()._get_config(name))
        hub_path = config.get("dataset_path")
        if not hub_path or config.get("custom_dataset"):
            return config
        folder = mirror.find(hub_path, self.roots)
        self.data[hub_path] = str(folder or hub_path)
        if folder:
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

    def load_task_or_group(self, task_list: str | list[str] | None = None) -> dict[Any, Any]:
        assert isinstance(task_list, list)
        if all(name in self.ready for name in task_list):
            return {key: one for name in task_list for key, one in self.ready.pop(name).items()}
        loaded: dict[Any, Any] = super().load_task_or_group(task_list)
        return loaded


class Tasks:
    """The task files of a suite.

    Args:
        benchmarks: whose files are indexed.
        roots: mirrors, first one first.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], roots: Sequence[Path]) -> None:
        own = Path(str(files("adapt_eval").joinpath("tasks")))
        stock = Path(lm_eval.__file__).parent / "tasks"
        owned = {path.stem for path in own.rglob("*.yaml")}
        folders = {str(stock / one.folder) for one in benchmarks if one.folder}
        everything = any(not one.folder and one.task not in owned for one in benchmarks)
        self._manager = _Manager(
            roots,
            include_path=[*sorted(folders), str(own)],
            include_defaults=everything,
        )

    def prepare(self, benchmark: Benchmark, chat: bool) -> Prepared:
        """Read the data of one benchmark and build its tasks.

        Args:
            chat: whether generated answers are asked for through the chat template.

        Raises:
            ValueError: there is no such task or metric.
            RunFailed: the data is neither in a mirror nor on the Hub.
        """
        name = (benchmark.chat_task or benchmark.task) if chat else benchmark.task
        if name not in self._manager.all_tasks:
            raise ValueError(f"lm-eval has no task {name!r}; see `lm-eval ls tasks`")
        self._manager.data, self._manager.shots = {}, benchmark.shots
        try:
            with _quiet():
                tasks = self._manager.load_task_or_group([name])
        except (OSError, KeyError, datasets.exceptions.DatasetNotFoundError) as error:
            raise RunFailed(_no_data(benchmark, self._manager.data, error)) from error
        leaves = dict(_leaves(tasks))
        _check_column(benchmark, leaves)
        templated = chat and all(one.OUTPUT_TYPE == "generate_until" for one in leaves.values())
        self._manager.ready[name] = tasks
        return Prepared(
            benchmark,
            tasks,
            leaves,
            dict(self._manager.data),
            _settings(name, benchmark, leaves, templated),
            templated,
        )

    def sources(self, benchmark: Benchmark) -> dict[str, set[str | None]]:
        """Hub path -> configurations that the tasks of a benchmark read."""
        found: dict[str, set[str | None]] = {}
        for name in {benchmark.task, benchmark.chat_task or benchmark.task}:
            for leaf in self._manager.leaf_names(name):
                config = self._manager._get_config(leaf)
                if config.get("dataset_path"):
                    configurations = found.setdefault(config["dataset_path"], set())
                    configurations.add(config.get("dataset_name"))
        return found

    def measure(
        self,
        model: LM,
        prepared: Prepared,
        limit: int | None,
        allow_code: bool,
        progress: Progress,
    ) -> Measured:
        """Ask the model and score its answers. A prepared benchmark can be measured once.

        Raises:
            ValueError: lm-eval does not report the suite's metric, or ignored its shots; the
                model has no room for the answers.
        """
        benchmark, name = prepared.benchmark, prepared.settings["task"]
        _check_room(benchmark, prepared.leaves, model)
        if "lm_eval.tasks.ifeval" in sys.modules:
            import langdetect

            langdetect.DetectorFactory.seed = 0
        with _quiet(), _items_to(progress):
            results = lm_eval.simple_evaluate(
                model=model,
                tasks=[name],
                task_manager=self._manager,
                num_fewshot=benchmark.shots,
                limit=limit,
                bootstrap_iters=0,
                apply_chat_template=prepared.chat,
                fewshot_as_multiturn=prepared.chat,
                confirm_run_unsafe_code=allow_code,
                random_seed=SEEDS["random"],
                numpy_random_seed=SEEDS["numpy"],
                torch_random_seed=SEEDS["torch"],
                fewshot_random_seed=SEEDS["fewshot"],
            )
        assert results is not None
        for leaf in prepared.leaves.values():
            if (leaf.config.num_fewshot or 0) != benchmark.shots:
                raise ValueError(
                    f"{benchmark.task}: lm-eval's task fixes {leaf.config.num_fewshot} shots, the "
                    f"suite says {benchmark.shots}; change the suite"
                )
        metrics = _metrics(results["results"], set(prepared.leaves))
        if benchmark.metric not in metrics:
            known = sorted({key.rsplit("/", 1)[-1] for key in metrics})
            raise ValueError(
                f"{benchmark.task}: no metric {benchmark.metric!r}; lm-eval reports "
                f"{', '.join(known)}. Change `metric:` in the suite"
            )
        rows = [
            _row(benchmark, leaf, one) for leaf, many in results["samples"].items() for one in many
        ]
        return Measured(metrics[benchmark.metric], metrics, rows)


def build_model(
    backend: str, folder: str, adapter: str | None, device: str, batch_size: str, dtype: str
) -> LM:
    """Load a model.

    Args:
        backend: `hf` or `vllm`.
        folder: of the full model; `adapter` the folder of LoRA weights for it.
        batch_size: a number or `auto`.

    Raises:
        ValueError: the backend is unknown or not installed.
        RunFailed: the model cannot be loaded.
    """
    arguments: dict[str, Any] = {"pretrained": folder, "dtype": dtype}
    if backend == "vllm":
        try:
            import vllm  # noqa: F401
        except ImportError as error:
            raise ValueError("--backend vllm: vLLM is not installed; use --backend hf") from error
        if adapter:
            arguments["lora_local_path"] = adapter
    elif backend == "hf":
        if adapter:
            arguments["peft"] = adapter
            if (Path(adapter) / "tokenizer_config.json").is_file():
                arguments["tokenizer"] = adapter
    else:
        raise ValueError(f"--backend {backend}: there are hf and vllm")
    extra = {"batch_size": batch_size, "max_batch_size": None, "device": device}
    try:
        with _quiet():
            model: LM = get_model(backend).create_from_arg_obj(arguments, extra)
            return model
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise RunFailed(
            f"cannot load the model in {folder}: {type(error).__name__}: {error}. If memory ran "
            "out, try another --device or a smaller --batch-size"
        ) from error


def _settings(
    name: str, benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask], chat: bool
) -> dict[str, Any]:
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
        "chat_template": chat,
        "lm_eval": lm_eval.__version__,
        "seeds": SEEDS,
    }


def _leaves(tasks: Mapping[Any, Any]) -> Iterator[tuple[str, ConfigurableTask]]:
    for name, task in tasks.items():
        if isinstance(task, Mapping):
            yield from _leaves(task)
        else:
            yield str(name), task


def _metrics(results: Mapping[str, Mapping[str, Any]], leaves: set[str]) -> dict[str, float]:
    """The benchmark's own metrics, and those of its tasks as `task/metric` where it is a group."""

    def numbers(one: Mapping[str, Any]) -> dict[str, float]:
        return {
            key: float(value)
            for key, value in one.items()
            if "," in key and "_stderr," not in key and isinstance(value, int | float)
        }

    if len(leaves) == 1:
        return numbers(results[next(iter(leaves))])
    metrics = {f"{leaf}/{key}": v for leaf in leaves for key, v in numbers(results[leaf]).items()}
    for name, one in results.items():
        if name not in leaves:
            metrics.update(numbers(one))
    return metrics


def _check_column(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask]) -> None:
    """The column that tells clusters apart must be there, before anything is measured."""
    if benchmark.cluster in ("", "subtask"):
        return
    for leaf in leaves.values():
        columns = list(leaf.eval_docs[0]) if len(leaf.eval_docs) else []
        if columns and benchmark.cluster not in columns:
            raise ValueError(
                f"{benchmark.task}: its documents have no column {benchmark.cluster!r}, only "
                f"{', '.join(columns)}. Change `cluster:` in the suite"
            )


def _check_room(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask], model: LM) -> None:
    """Prompt and answer share the model's context."""
    context = getattr(model, "max_length", None)
    for leaf in leaves.values():
        if leaf.OUTPUT_TYPE != "generate_until" or context is None:
            continue
        asked = leaf.config.generation_kwargs or {}
        tokens = asked.get("max_gen_toks", getattr(model, "max_gen_toks", 0))
        if tokens >= context:
            raise ValueError(
                f"{benchmark.task}: answers may take {tokens} tokens and the model's whole context "
                f"is {context}; take a model with a longer one, or --skip {benchmark.task}"
            )


def _row(benchmark: Benchmark, leaf: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the samples file."""
    metric, filter_name = benchmark.metric.rsplit(",", 1)
    primary = sample["filter"] == filter_name and metric in sample
    if benchmark.cluster == "subtask":
        cluster = leaf
    elif benchmark.cluster:
        cluster = str(sample["doc"][benchmark.cluster])
    else:
        cluster = ""
    return {
        "subtask": leaf,
        "filter": sample["filter"],
        "doc_id": int(sample["doc_id"]),
        "doc_hash": sample["doc_hash"],
        "target_hash": sample["target_hash"],
        "prompt_hash": sample["prompt_hash"],
        "cluster": cluster,
        "primary": primary,
        "score": float(sample[metric]) if primary else None,
        "metrics": _json({name: sample[name] for name in sample["metrics"]}),
        "document": _json(sample["doc"]),
        "target": _json(sample["target"]),
        "prompt": str(sample["arguments"][0][0]),
        "responses": _json(sample["resps"]),
        "filtered": _json(sample["filtered_resps"]),
    }


def _json(value: Any) -> str:
    return json.dumps(value, default=handle_non_serializable, ensure_ascii=False)


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval and datasets print to stdout, log much and draw bars; stdout is for data."""
    names = ("lm_eval", "transformers", "datasets", "torchao", "torch", "accelerate")
    talkers = [logging.getLogger(name) for name in names]
    levels = [one.level for one in talkers]
    bars = datasets.utils.logging.is_progress_bar_enabled()
    verbose = logging.getLogger("adapt_eval").isEnabledFor(logging.DEBUG)
    try:
        if not verbose:
            for one in talkers:
                one.setLevel(logging.ERROR)
            datasets.disable_progress_bars()
            transformers.utils.logging.disable_progress_bar()
        with contextlib.redirect_stdout(sys.stderr if verbose else io.StringIO()):
            yield
    finally:
        for one, level in zip(talkers, levels, strict=True):
            one.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _items_to(progress: Progress) -> Iterator[None]:
    """Tell `progress` what lm-eval's own bars would have shown: requests done, and of how many."""

    class Bar:
        def __init__(self, iterable: Any = None, total: int | None = None, **_: Any) -> None:
            self.iterable, self.total, self.done = iterable, total or 0, 0

        def __iter__(self) -> Iterator[Any]:
            return iter(self.iterable)

        def update(self, count: int = 1) -> None:
            self.done += count
            progress(self.done, self.total)

        def close(self) -> None:
            pass

    # lm-eval also asks git of the working directory, which complains on stderr outside of one.
    instead = (
        (lm_eval.models.huggingface, "tqdm", Bar),
        (lm_eval.api.task, "tqdm", Bar),
        (lm_eval.evaluator, "get_git_commit_hash", lambda: None),
    )
    kept = [getattr(module, name) for module, name, _ in instead]
    for module, name, ours in instead:
        setattr(module, name, ours)
    try:
        yield
    finally:
        for (module, name, _), theirs in zip(instead, kept, strict=True):
            setattr(module, name, theirs)
