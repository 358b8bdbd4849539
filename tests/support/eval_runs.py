"""Runs with results that were never measured: scores chosen by a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.results import MANIFEST, write_json, write_result
from adapt_eval.schema import (
    BenchmarkResult,
    Fingerprint,
    Ledger,
    Manifest,
    MeasuredModel,
    MeasuredSuite,
)

FAMILIES = {"sums": "reasoning", "logic": "reasoning", "passages": "reading comprehension"}


def made_run(
    folder: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    clusters: Mapping[str, Sequence[str]] | None = None,
    ledger: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    prompt: str = "prompt",
    target: str = "target",
    suite: str = "made",
    chance: float = 0.0,
    floor: float | None = None,
    names: Sequence[str] = (),
    documents: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
    circumstances: Mapping[str, Any] | None = None,
) -> Path:
    """Write results as `adapt-eval run` would: benchmark -> one score for each item.

    `order` gives the numbers of the documents where they are not 0, 1, 2.
    """
    results = folder / "eval" / suite
    mark = f"model of {folder.name}"
    manifest = Manifest(
        model=MeasuredModel(name=str(folder), hash=mark),
        suite=MeasuredSuite(name=suite, note="made up", hash=suite, benchmarks=list(FAMILIES)),
        ledger=None if ledger is None else Ledger.model_validate(ledger),
    )
    write_json(results / MANIFEST, manifest)
    for task, values in scores.items():
        groups = (clusters or {}).get(task, [""] * len(values))
        rows = [
            {
                "subtask": task,
                "filter": "none",
                "doc_id": number,
                "doc_hash": f"document {number}",
                "target_hash": f"{target} {number}",
                "prompt_hash": f"{prompt} {number}",
                "cluster": group,
                "primary": True,
                "score": float(value),
                "document": documents[number] if documents else "{}",
            }
            for number, value, group in zip(
                order or range(len(values)), values, groups, strict=True
            )
        ]
        content = BenchmarkResult(
            task=task,
            family=FAMILIES[task],
            metric="acc,none",
            score=sum(values) / len(values),
            items=len(values),
            chance=chance,
            floor=floor,
            names=list(names),
            clustered_by="passage" if clusters and task in clusters else "",
            settings={"shots": 0, **(settings or {})},
            fingerprint=Fingerprint(model=mark, **(circumstances or {})),
        )
        write_result(results, content, rows)
    return folder


def made_ledger(**tokens: int) -> dict[str, Any]:
    """A training ledger: task -> tokens."""
    used = sum(tokens.values())
    return {
        "unit": "supervised_tokens",
        "budget": used,
        "used": used,
        "meta_tokens": used // 10,
        "steps": 10,
        "tasks": {name: {"tokens": count} for name, count in tokens.items()},
    }


def compared(*runs: Path | str, **options: Any) -> Comparison:
    return compare(read_arms([str(run) for run in runs], None), **options)


def coins(seed: int, items: int, share: float) -> list[float]:
    return list((np.random.default_rng(seed).uniform(size=items) < share).astype(float))
