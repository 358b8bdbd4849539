"""Details of lighteval (`lighteval ... --output-dir DIR --save-details`), as 0.13.0 writes them.

    DIR/results/<model>/results_<time>.json
    DIR/details/<model>/<time>/details_<task>|<shots>_<time>.parquet

A row of details has three structs: `doc` (query, choices, gold_index, fewshot_samples), `metric`
(name -> score) and `model_response` (input, text, logprobs). lighteval has no hashes of what it
asked. They are made here: of a document's query and choices, of its gold answers, and of the
instruction, the examples and the text that the model got. Only some backends keep that text;
accelerate keeps tokens, with padding that depends on the batch size: they are not compared.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from adapt_eval.logs.log import Log, LoggedItem, LoggedTask, hash_of
from adapt_eval.parsing import parse
from adapt_eval.schema import Identity, MeasuredModel, Record

HARNESS = "lighteval"
REMEDY = "restore the file, or run lighteval again with --save-details"
# What decides an answer, of a task's config.
_DECIDING = (
    "hf_repo",
    "hf_subset",
    "hf_revision",
    "evaluation_splits",
    "few_shots_split",
    "few_shots_select",
    "generation_size",
    "stop_sequence",
    "num_samples",
)
# The same of the model's config: how a prompt is made of a document.
_ASKING = (
    "system_prompt",
    "override_chat_template",
    "add_special_tokens",
    "multichoice_continuations_start_space",
    "pairwise_tokenization",
)


class _General(Record):
    model_name: str
    # The name that pydantic keeps for itself.
    config_of_model: dict[str, Any] = Field({}, alias="model_config")
    lighteval_sha: str | None = None
    num_fewshot_seeds: int | None = None
    max_samples: int | None = None


class _Results(Record):
    """`results_*.json`: task -> metric -> score."""

    config_general: _General
    results: dict[str, dict[str, Any]]
    versions: dict[str, Any] = Field({})
    config_tasks: dict[str, dict[str, Any]] = Field({})


class LightevalDetails:
    """The folder that --output-dir named, with one model and one time."""

    def holds(self, place: Path) -> bool:
        """See `Format`."""
        return (place / "results").is_dir() and any((place / "results").rglob("results_*.json"))

    def read(self, place: Path) -> Log:
        """See `Format`."""
        file = _only(place, sorted((place / "results").rglob("results_*.json")))
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{file}: cannot be read ({error}); {REMEDY}") from error
        results = parse(_Results, content, file, REMEDY)
        general = results.config_general
        # Generation parameters are settings, compared by their names.
        arguments = {
            key: value
            for key, value in general.config_of_model.items()
            if key not in ("generation_parameters", "system_prompt")
        }
        mark = hash_of([general.model_name, arguments])
        time = file.stem.removeprefix("results_")
        # An installed lighteval does not know its commit and writes "?".
        sha = general.lighteval_sha
        versions = {"lighteval": sha} if sha and sha != "?" else {}
        return Log(
            place=place,
            harness=HARNESS,
            model=MeasuredModel(name=general.model_name, hash=mark),
            identity=Identity(
                model=mark,
                batch_size=_text(arguments.get("batch_size")),
                device=_text(arguments.get("device")),
                dtype=_text(arguments.get("dtype")),
                versions=versions,
            ),
            tasks={
                name: _task(place, file, name, time, results)
                for name in results.results
                if "|" in name and ":_average|" not in name
            },
            made=time.partition("T")[0],
            remedy=REMEDY,
        )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _only(place: Path, files: list[Path]) -> Path:
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(place)) for file in files)
        raise ValueError(
            f"{place}: has several results ({names}); keep one of them and move the others away, "
            "or give each model and time an --output-dir of its own"
        )
    return files[0]


def _task(place: Path, file: Path, name: str, time: str, results: _Results) -> LoggedTask:
    general, config = results.config_general, results.config_tasks.get(name, {})
    metrics = {
        f"{key},none": float(value)
        for key, value in results.results[name].items()
        if not key.endswith("_stderr")
        and isinstance(value, int | float)
        and not math.isnan(float(value))
    }
    described = {f"{key},none": one for key, one in _described(config.get("metrics") or [])}
    return LoggedTask(
        name=name,
        file=file,
        metrics=metrics,
        comparable=[key for key in metrics if described.get(key, _Metric()).comparable],
        settings={
            "task": name,
            "version": str(config.get("version", results.versions.get(name))),
            "shots": config.get("num_fewshots", name.rpartition("|")[2]),
            "few_shot_seeds": general.num_fewshot_seeds,
            "generation": general.config_of_model.get("generation_parameters") or {},
            **{key: general.config_of_model.get(key) for key in _ASKING},
            **{key: config[key] for key in _DECIDING if key in config},
        },
        scoring={key: one.scoring for key, one in described.items()},
        limit=general.max_samples,
        read=partial(_items, place, name, time),
        parts=[name],
    )


class _Metric(Record):
    """An entry of a task's `metrics`, or of a group's for one name."""

    comparable: bool = True
    scoring: str = ""


def _described(metrics: list[dict[str, Any]]) -> Iterator[tuple[str, _Metric]]:
    """Metrics by their names. A group has a list of them, and for each a direction and a mean."""
    for one in metrics:
        names = one.get("metric_name")
        # Python's address of an object tells nothing.
        scoring = re.sub(r" at 0x[0-9a-f]+", "", str(one.get("sample_level_fn")))
        for name in names if isinstance(names, list) else [names]:
            better, total = (
                value.get(name) if isinstance(value, Mapping) else value
                for value in (one.get("higher_is_better"), one.get("corpus_level_fn"))
            )
            comparable = better is not False and total in (None, "mean")
            yield str(name), _Metric(comparable=comparable, scoring=scoring)


def _items(place: Path, name: str, time: str) -> list[LoggedItem]:
    import pyarrow
    import pyarrow.parquet

    files = [
        file
        for file in (place / "details").rglob("details_*.parquet")
        if file.name == f"details_{name}_{time}.parquet"
    ]
    if not files:
        raise ValueError(
            f"{place / 'details'}: details_{name}_{time}.parquet is missing, so nothing is known "
            f"of the items; {REMEDY}"
        )
    file = files[0]
    try:
        # Not as a data set: folders of its path may have the form key=value.
        rows = pyarrow.parquet.ParquetFile(file).read(["doc", "metric", "model_response"])
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); {REMEDY}") from error
    missing = {"doc", "metric", "model_response"} - set(rows.column_names)
    if missing:
        raise ValueError(
            f"{file}: has no column {', '.join(sorted(missing))}; lighteval 0.13 writes it, "
            "earlier versions wrote others: run it again"
        )
    return [_item(name, row) for row in rows.to_pylist()]


def _item(name: str, row: Mapping[str, Any]) -> LoggedItem:
    doc, response = row["doc"], row["model_response"] or {}
    gold = doc.get("gold_index")
    indexes = gold if isinstance(gold, list) else [gold]
    choices = doc.get("choices") or []
    targets = [choices[one] for one in indexes if isinstance(one, int) and one < len(choices)]
    ranked = bool(response.get("logprobs"))
    examples = [
        [one.get("query"), one.get("choices"), one.get("gold_index")]
        for one in doc.get("fewshot_samples") or []
    ]
    return LoggedItem(
        subtask=name,
        filter="none",
        doc_hash=hash_of([doc.get("query"), choices]),
        target_hash=hash_of(targets),
        prompt_hash=hash_of([doc.get("instruction"), examples, response.get("input")]),
        document=dict(doc.get("specific") or {}),
        choices=len(choices) if ranked else 0,
        scores={
            key: float(value)
            for key, value in (row["metric"] or {}).items()
            if isinstance(value, int | float)
        },
    )
