"""The training rows that a run with `rows: learned` found hard to believe, and those that it
learned best, with their text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapt_axolotl.commands.same_data import planned_again
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.records.row_scores import RowRecords, read_row_scores

DOUBTFUL, LEARNED = "doubtful", "learned"


@dataclass(frozen=True)
class JudgedRows:
    """
    Attributes:
        lines: JSON, one a row: the most doubtful ones first, the best learned ones after them.
        counts: by task: rows, and how many of them are doubtful.
    """

    lines: list[str]
    counts: dict[str, tuple[int, int]]


def judged_rows(run: Path, most: int | None) -> JudgedRows:
    """
    Args:
        run: output directory of a finished run with `rows: learned`. Its data is read again, as
            its recipe says.
        most: rows of each kind; None for all that are doubtful, and as many of the others.

    Raises:
        ValueError: the run has not ended or learned no rows; its data is not there or is another.
    """
    records = read_row_scores(run)
    planned = planned_again(run)
    tasks = planned.tasks
    return JudgedRows(
        [json.dumps(line, ensure_ascii=False) for line in _lines(tasks, records, planned, most)],
        {
            name: (len(own), int(records.doubtful[own].sum()))
            for k, name in enumerate(tasks.names)
            if len(own := tasks.pools.rows(k))
        },
    )


def _lines(
    tasks: Tasks, records: RowRecords, planned: Any, most: int | None
) -> Iterator[dict[str, Any]]:
    order = np.argsort(-np.nan_to_num(records.expected, nan=-np.inf), kind="stable")
    seen = order[np.isfinite(records.expected[order])]
    doubtful = seen[records.doubtful[seen]][:most]
    learned = seen[::-1][: len(doubtful) if most is None else most]
    for kind, chosen in ((DOUBTFUL, doubtful), (LEARNED, learned)):
        for row in chosen.tolist():
            one = tasks.train[row]
            ids, labels = np.array(one["input_ids"]), np.array(one["labels"])
            yield {
                "kind": kind,
                "task": tasks.names[int(tasks.pools.task_of_row[row])],
                "expected": round(float(records.expected[row]), 2),
                "part": round(float(records.part[row]), 2),
                "answer": planned.tokenizer.decode(ids[labels != -100]),
                "text": planned.tokenizer.decode(ids),
            }
