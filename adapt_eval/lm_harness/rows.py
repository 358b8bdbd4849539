"""What lm-eval returns for a benchmark, as our metrics and rows of items."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.utils import handle_non_serializable

from adapt_eval.suite import Benchmark


def metrics(results: Mapping[str, Mapping[str, Any]], leaves: set[str]) -> dict[str, float]:
    """The benchmark's own metrics; for a group also those of its tasks, as `task/metric`.

    Args:
        results: lm-eval's: task or group -> its metrics.
        leaves: the tasks without groups.
    """
    if len(leaves) == 1:
        return _numbers(results[next(iter(leaves))])
    found = {f"{leaf}/{key}": v for leaf in leaves for key, v in _numbers(results[leaf]).items()}
    for name, one in results.items():
        if name not in leaves:
            found.update(_numbers(one))
    return found


def _numbers(one: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in one.items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    }


def row(benchmark: Benchmark, leaf: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the samples file.

    Args:
        leaf: name of the task that the sample is from.
        sample: lm-eval's record of one item under one filter.
    """
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
        "score": float(sample[metric]) / benchmark.scale if primary else None,
        "metrics": _json({name: sample[name] for name in sample["metrics"]}),
        "document": _json(sample["doc"]),
        "target": _json(sample["target"]),
        "prompt": str(sample["arguments"][0][0]),
        "responses": _json(sample["resps"]),
        "filtered": _json(sample["filtered_resps"]),
    }


def check_scale(benchmark: Benchmark, rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Args:
        rows: of `row`.

    Raises:
        ValueError: scores lie outside of 0 to 1.
    """
    scores = [float(one["score"]) * benchmark.scale for one in rows if one["primary"]]
    worst = max(scores, key=lambda score: abs(score - benchmark.scale / 2), default=0.0)
    slack = 1e-9 * benchmark.scale
    if not -slack <= worst <= benchmark.scale + slack:
        raise ValueError(
            f"{benchmark.task}: scores of {benchmark.metric.rsplit(',', 1)[0]} reach {worst:g}; "
            f"the suite says that they lie between 0 and {benchmark.scale:g}. Set `scale:` in the "
            "suite to the score of a perfect answer, or change `metric:`; answers are kept, so the "
            "same command goes on from here"
        )


def _json(value: Any) -> str:
    return json.dumps(value, default=handle_non_serializable, ensure_ascii=False)
