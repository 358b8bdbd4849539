"""What lm-eval's own command leaves (`lm_eval run --output_path DIR --log_samples`, 0.4.11).

    DIR/<model>/results_<time>.json
    DIR/<model>/samples_<task>_<time>.jsonl

Only files are read, lm-eval is not imported. Its hashes of documents, prompts and targets are those
that `adapt-eval run` stores, so that the two can be compared. The results name a hash over those of
all samples of a task: samples that were lost or changed since are noticed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adapt_eval.logs.lm_eval_files import Results, read_results, read_samples
from adapt_eval.logs.log import Log, LoggedItem, LoggedTask, each_once, hash_of
from adapt_eval.schema import Identity, MeasuredModel

HARNESS = "lm-eval"
REMEDY = "measure again with lm_eval run --log_samples, or restore the file"
# Arguments of the model that are known by other names.
_NAMED = {"pretrained", "peft", "lora_local_path", "tokenizer", "dtype", "device", "batch_size"}
_TIME = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.json$")


class LmEvalOutput:
    """A folder of lm-eval's results, the folder above, or one `results_*.json`."""

    def holds(self, place: Path) -> bool:
        """See `Format`."""
        return bool(_results_files(place))

    def read(self, place: Path) -> Log:
        """See `Format`."""
        files = _results_files(place)
        folders = sorted({file.parent for file in files})
        if len(folders) > 1:
            names = ", ".join(folder.name for folder in folders)
            raise ValueError(f"{place}: has results of several models; give one of {names}")
        found = [(file, read_results(file, REMEDY)) for file in files]
        models = {_model(one).hash: one.model_name for _, one in found}
        if len(models) > 1:
            names = ", ".join(str(name) for name in models.values())
            raise ValueError(
                f"{place}: its results are of different models ({names}); give one results_*.json"
            )
        tasks = each_once(
            (task for file, one in found for task in _tasks(file, one)), place, "results_*.json"
        )
        newest = found[-1][1]
        return Log(
            place, HARNESS, _model(newest), _identity(newest), tasks, newest.measured(), REMEDY
        )


def _results_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if _TIME.search(place.name) else []
    here = sorted(place.glob("results_*.json"))
    return here or sorted(place.glob("*/results_*.json"))


def _model(one: Results) -> MeasuredModel:
    """The log has no hash of the weights: the arguments and the revision stand for it."""
    config = one.config
    mark = hash_of([config.model, config.model_args, config.model_sha, one.model_name])
    return MeasuredModel(name=one.model_name or str(config.model_args), hash=mark)


def _identity(one: Results) -> Identity:
    config = one.config
    arguments = config.arguments()
    more = [f"{key}={arguments[key]}" for key in sorted(arguments) if key not in _NAMED]
    versions = {"lm_eval": one.lm_eval_version, "transformers": one.transformers_version}
    return Identity(
        model=_model(one).hash,
        batch_size=str(config.batch_size),
        device=None if config.device is None else str(config.device),
        dtype=str(arguments.get("dtype") or "auto"),
        backend=config.model,
        model_args=",".join(more) or None,
        versions={name: version for name, version in versions.items() if version},
    )


def _tasks(file: Path, one: Results) -> list[LoggedTask]:
    """Tasks and groups that have a score of their own."""
    metrics = {name: _metrics(reported) for name, reported in one.results.items()}
    groups = {name for name, parts in one.group_subtasks.items() if parts and metrics.get(name)}
    inside = {leaf for name in groups for leaf in _parts(name, one)}
    tasks = []
    for name, found in metrics.items():
        leaves = _leaves(name, one)
        if not leaves or (name not in groups and name not in one.configs):
            continue
        tasks.append(
            LoggedTask(
                name=name,
                file=file,
                metrics=found,
                comparable=[key for key in found if _comparable(key, leaves, one)],
                settings=_settings(name, leaves, one),
                limit=one.limit(leaves),
                read=partial(_items, file, leaves, one),
                parts=leaves,
                inside=name in inside,
            )
        )
    return tasks


def _metrics(reported: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in reported.items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    }


def _parts(name: str, one: Results) -> set[str]:
    """All that lies in a group, groups and tasks."""
    parts = one.group_subtasks.get(name) or []
    return {*parts, *(below for part in parts for below in _parts(part, one))}


def _leaves(name: str, one: Results) -> list[str]:
    parts = one.group_subtasks.get(name) or []
    if parts:
        return list(dict.fromkeys(leaf for part in parts for leaf in _leaves(part, one)))
    return [name] if name in one.configs else []


def _comparable(key: str, leaves: Sequence[str], one: Results) -> bool:
    """As far as the task's config tells: a metric that it does not list is one that lm-eval
    averages, and of which more is better."""
    metric = key.rpartition(",")[0]
    for leaf in leaves:
        for listed in one.configs[leaf].get("metric_list") or []:
            if listed.get("metric") == metric and listed.get("aggregation", "mean") != "mean":
                return False
        if (one.higher_is_better.get(leaf) or {}).get(metric) is False:
            return False
    return True


def _settings(name: str, leaves: Sequence[str], one: Results) -> dict[str, Any]:
    """The same keys as `adapt-eval run` stores, and others only where a log has what a run of ours
    never has."""
    shots: dict[str, Any] = {leaf: one.shots(leaf) for leaf in leaves}
    alike = len(set(shots.values())) == 1
    settings: dict[str, Any] = {
        "task": name,
        "versions": {leaf: str(one.versions.get(leaf)) for leaf in leaves},
        "shots": next(iter(shots.values())) if alike else shots,
        "generation": {
            leaf: one.configs[leaf].get("generation_kwargs")
            for leaf in leaves
            if one.configs[leaf].get("output_type") == "generate_until"
        },
        "chat_template": one.chat_template is not None,
        "lm_eval": one.lm_eval_version,
        "seeds": one.config.seeds(),
    }
    if one.system_instruction is not None:
        settings["system_instruction"] = one.system_instruction
    if one.chat_template is not None and not one.fewshot_as_multiturn:
        settings["fewshot_as_multiturn"] = False
    return settings


def _items(file: Path, leaves: Sequence[str], one: Results) -> list[LoggedItem]:
    items: list[LoggedItem] = []
    found = _TIME.search(file.name)
    time = found[1] if found else ""
    for leaf in leaves:
        samples = file.with_name(f"samples_{leaf}_{time}.jsonl")
        read = read_samples(samples, leaf, REMEDY)
        _check_whole(samples, leaf, read, one)
        items += read
    return items


def _check_whole(samples: Path, leaf: str, items: Sequence[LoggedItem], one: Results) -> None:
    said = one.task_hashes.get(leaf)
    marks = "".join(item.doc_hash + item.prompt_hash + item.target_hash for item in items)
    if said is not None and hashlib.sha256(marks.encode()).hexdigest() != said:
        wanted = one.n_samples.get(leaf, {}).get("effective")
        asked = f", and {wanted} items were asked" if wanted else ""
        raise ValueError(
            f"{samples}: lost samples or was changed since it was written (it has {len(items)} "
            f"lines{asked}); {REMEDY}"
        )
