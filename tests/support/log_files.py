"""Logs of other harnesses that were never measured: scores chosen by a test."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIME = "2026-01-02T03-04-05.678901"


def made_lm_eval_output(
    folder: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    prompt: str = "prompt",
    target: str = "target",
    shots: int = 0,
    metric: str = "acc",
    listed: Mapping[str, Any] | None = None,
    time: str = TIME,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """What lm-eval 0.4.11 writes, as far as it is read: task -> one score for each item."""
    inside = folder / "org__model"
    inside.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for task, values in scores.items():
        lines = [
            {
                "doc_id": number,
                "doc": {"question": number},
                "arguments": {f"gen_args_{one}": {} for one in range(4)},
                "filter": "none",
                "metrics": [metric],
                "doc_hash": f"document {number}",
                "prompt_hash": f"{prompt} {number}",
                "target_hash": f"{target} {number}",
                metric: value,
            }
            for number, value in enumerate(values)
        ]
        marks = "".join(one["doc_hash"] + one["prompt_hash"] + one["target_hash"] for one in lines)  # type: ignore[operator]
        hashes[task] = hashlib.sha256(marks.encode()).hexdigest()
        text = "".join(json.dumps(one) + "\n" for one in lines)
        (inside / f"samples_{task}_{time}.jsonl").write_text(text)
    entry = {"metric": metric, "aggregation": "mean", "higher_is_better": True, **(listed or {})}
    content: dict[str, Any] = {
        "results": {
            task: {f"{metric},none": sum(values) / len(values), f"{metric}_stderr,none": 0.1}
            for task, values in scores.items()
        },
        "group_subtasks": {task: [] for task in scores},
        "configs": {
            task: {"task": task, "output_type": "multiple_choice", "metric_list": [entry]}
            for task in scores
        },
        "versions": dict.fromkeys(scores, 1.0),
        "n-shot": dict.fromkeys(scores, shots),
        "higher_is_better": {task: {metric: entry["higher_is_better"]} for task in scores},
        "n-samples": {
            task: {"original": len(values), "effective": len(values)}
            for task, values in scores.items()
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "org/model"},
            "batch_size": "8",
            "device": "cpu",
            "limit": None,
            "random_seed": 0,
            "numpy_seed": 1234,
            "torch_seed": 1234,
            "fewshot_seed": 1234,
        },
        "date": 1767323045.0,
        "lm_eval_version": "0.4.11",
        "transformers_version": "5.16.1",
        "task_hashes": hashes,
        "model_name": "org/model",
        "chat_template": None,
        "system_instruction": None,
        "fewshot_as_multiturn": None,
        **(changes or {}),
    }
    (inside / f"results_{time}.json").write_text(json.dumps(content))
    return folder


def made_lighteval_details(
    folder: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    text: str | None = None,
    example: str = "Example",
    gold: int = 0,
    generation: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    metric: Mapping[str, Any] | None = None,
) -> Path:
    """What lighteval 0.13.0 writes with --save-details, as far as it is read: `task|shots` -> one
    score for each item. The layout is that of lighteval_sample in the tests of logs.

    Args:
        text: of the prompts, as only some backends keep it.
        model, metric: changes to what the log says of them.
    """
    import pyarrow
    import pyarrow.parquet

    results, details = folder / "results/org/model", folder / f"details/org/model/{TIME}"
    for one in (results, details):
        one.mkdir(parents=True)
    for task, values in scores.items():
        rows = [
            {
                "doc": {
                    "query": f"Question {number}",
                    "choices": ["right", "wrong"],
                    "gold_index": gold,
                    "instruction": None,
                    "fewshot_samples": [
                        {"query": example, "choices": ["right", "wrong"], "gold_index": 0}
                    ],
                    "id": str(number),
                    "task_name": task,
                    "specific": {"subject": "made"},
                },
                "metric": {"acc": value},
                "model_response": {
                    "input": None if text is None else f"{text} {number}",
                    "text": [],
                    "logprobs": [-1.0, -2.0],
                },
            }
            for number, value in enumerate(values)
        ]
        file = details / f"details_{task}_{TIME}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    content = {
        "config_general": {
            "lighteval_sha": "?",
            "num_fewshot_seeds": 1,
            "max_samples": None,
            "model_name": "org/model",
            "model_config": {
                "model_name": "org/model",
                "dtype": "bfloat16",
                "batch_size": 4,
                "generation_parameters": {"temperature": 0.0, **(generation or {})},
                "system_prompt": None,
                "override_chat_template": None,
                **(model or {}),
            },
        },
        "results": {
            **{
                task: {"acc": sum(values) / len(values), "acc_stderr": 0.1}
                for task, values in scores.items()
            },
            "all": {"acc": 0.5, "acc_stderr": 0.1},
        },
        "versions": {},
        "config_tasks": {
            task: {
                "name": task.partition("|")[0],
                "hf_repo": "org/data",
                "num_fewshots": 0,
                "version": 1,
                "metrics": [
                    {
                        "metric_name": "acc",
                        "higher_is_better": True,
                        "sample_level_fn": "Accuracy()",
                        "corpus_level_fn": "mean",
                        **(metric or {}),
                    }
                ],
            }
            for task in scores
        },
        "summary_tasks": {},
        "summary_general": {},
    }
    (results / f"results_{TIME}.json").write_text(json.dumps(content))
    return folder


if __name__ == "__main__":
    for number, place in enumerate(sys.argv[1:]):
        made_lm_eval_output(
            Path(place), {"sums": [1.0] * (10 + 5 * number) + [0.0] * (20 - 5 * number)}
        )
