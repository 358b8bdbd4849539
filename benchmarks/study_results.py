"""Results of a cell by test row, in the files of `adapt-eval run`, which `adapt-eval compare`
reads: a benchmark a task, and a suite for each score of `study_metrics.py`.

A row's loss is its sum of token losses over the mean tokens of the task's test rows, so that the
mean over rows is the loss per supervised token.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from study_metrics import METRICS, NATS, suite_name
from study_model import RowResults, TestedRows

from adapt_eval.identity import ledger_of
from adapt_eval.results import MANIFEST, write_json, write_result
from adapt_eval.schema import (
    BenchmarkResult,
    Fingerprint,
    Manifest,
    MeasuredModel,
    MeasuredSuite,
)


def write_results(run: Path, name: str, rows: TestedRows, found: RowResults, model: str) -> None:
    """Write both suites below `run/eval`.

    Args:
        run: folder of the cell, whose training records are there.
        name: of the cell.
        rows: the test rows.
        found: what the model said of them.
        model: digest of its weights.
    """
    pools, digest = rows.pools, rows.digest()
    mean_tokens = pools.by_task(found.tokens) / pools.rows_of_task
    scores = {
        "exact_match": found.exact,
        "loss": 1 - found.sums / mean_tokens[pools.task_of_row] / NATS,
    }
    hashes = [hashes_of(rows, row) for row in range(len(pools.lengths))]
    for metric, score in scores.items():
        folder = run / "eval" / suite_name(metric)
        folder.mkdir(parents=True)
        suite = MeasuredSuite(
            name=suite_name(metric), note=METRICS[metric], hash=digest, benchmarks=list(pools.tasks)
        )
        made = datetime.now(UTC).isoformat(timespec="seconds")
        measured = MeasuredModel(name=name, hash=model)
        manifest = Manifest(made=made, model=measured, suite=suite, ledger=ledger_of(run))
        for k, task in enumerate(pools.tasks):
            own = pools.rows(k)
            items = [item(*hashes[row], int(row), float(score[row]), metric) for row in own]
            content = BenchmarkResult(
                task=task,
                family=task.split("_")[0],
                metric=metric,
                score=float(np.mean(score[own])),
                items=len(own),
                chance=0.0,
                settings={"test rows": digest},
                fingerprint=Fingerprint(model=model, settings={"test rows": digest}),
            )
            write_result(folder, content, items)
        write_json(folder / MANIFEST, manifest)


def hashes_of(rows: TestedRows, row: int) -> tuple[str, str]:
    """Of a row's question and of its answer, 16 letters each."""
    columns = rows[[row]]
    ids, labels = columns["input_ids"][0], columns["labels"][0]
    asked = [token for token, label in zip(ids, labels, strict=True) if label == -100]
    said = [label for label in labels if label != -100]
    question, answer = (
        hashlib.sha256(repr(part).encode()).hexdigest()[:16] for part in (asked, said)
    )
    return question, answer


def item(question: str, answer: str, row: int, score: float, metric: str) -> dict[str, object]:
    """One row, as results keep it; the texts are in the data."""
    return {
        "subtask": "",
        "filter": "none",
        "doc_id": row,
        "doc_hash": question,
        "target_hash": answer,
        "prompt_hash": question,
        "cluster": "",
        "metrics": metric,
        "primary": True,
        "score": score,
    }
