"""Put what the study's runs have found into two tables, which are small enough to commit.

    python benchmarks/collect_study.py runs/study

docs/measured/study.parquet: a line a cell and task. docs/measured/study_comparison.parquet: what
`adapt-eval compare` says of the arms. `study_page.py` makes the page of both.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from study_compare import compared, groups, reported
from study_done import finished, validation_losses
from study_grid import Cell, rates
from study_metrics import NATS, suite_name

from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS, read_ledger
from adapt_eval.results import read_json

MEASURED = Path(__file__).parents[1] / "docs" / "measured"
CELLS, COMPARISONS = "study.parquet", "study_comparison.parquet"

NUMBERS, MANY = pyarrow.float32(), pyarrow.list_(pyarrow.float32())
CELL_COLUMNS = {
    "regime": pyarrow.string(),
    "arm": pyarrow.string(),
    "budget": pyarrow.float64(),
    "learning_rate": pyarrow.float64(),
    "seed": pyarrow.int16(),
    "reported": pyarrow.bool_(),  # at the arm's learning rate, and not to choose it
    "task": pyarrow.string(),
    "tokens": pyarrow.int32(),  # supervised ones of the task
    "repeats": NUMBERS,  # of its rows, in passes over them
    "run_tokens": pyarrow.int32(),
    "tokens_before": pyarrow.int32(),  # of the runs that the mixture comes from
    "meta_tokens": pyarrow.int32(),
    "steps": pyarrow.int32(),
    "seconds": NUMBERS,  # of processor time, in training and measuring
    "loss": NUMBERS,  # on test rows, nats per supervised token
    "exact_match": NUMBERS,
    "final_share": NUMBERS,
    "average_share": NUMBERS,
    "curve_tokens": MANY,  # of the run
    "curve_seconds": MANY,
    "curve_losses": MANY,  # of the task, on a few validation rows
}
COMPARISON_COLUMNS = {
    "kind": pyarrow.string(),
    "regime": pyarrow.string(),
    "budget": pyarrow.float64(),
    "metric": pyarrow.string(),
    "seeds": pyarrow.int16(),
    "baseline": pyarrow.string(),
    "arm": pyarrow.string(),
    "level": pyarrow.string(),  # suite, family or task
    "name": pyarrow.string(),
    **dict.fromkeys(("a", "b", "difference", "ci_low", "ci_high"), pyarrow.float64()),
    **dict.fromkeys(("p_value", "p_holm", "detectable"), pyarrow.float64()),
    "verdict": pyarrow.string(),
    "claim": pyarrow.string(),
    "best_rank": pyarrow.int16(),
    "worst_rank": pyarrow.int16(),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="the folder that run_study.py wrote")
    parser.add_argument("--to", type=Path, default=MEASURED, help="folder of both tables")
    given = parser.parse_args()
    known = finished(given.runs)
    if not known:
        raise SystemExit(f"{given.runs}: no cell is done; start benchmarks/run_study.py")
    losses = validation_losses(given.runs)
    chosen = rates(losses)
    shown = set(reported(list(known), chosen))
    lines = [
        line
        for cell, said in known.items()
        for line in lines_of(given.runs, cell, said, cell in shown)
    ]
    write(given.to / CELLS, lines, CELL_COLUMNS)
    found = [
        line
        for group in groups(list(known), losses, chosen)
        for line in compared(given.runs, group)
    ]
    write(given.to / COMPARISONS, found, COMPARISON_COLUMNS)
    print(f"{len(known)} cells, {len(found)} lines of comparisons")


def lines_of(out: Path, cell: Cell, said: dict[str, Any], shown: bool) -> Iterator[dict[str, Any]]:
    """A line a task.

    Args:
        out: folder of the study.
        cell: one that is done.
        said: its `cell.json`.
        shown: whether it stands for its arm.
    """
    run = out / cell.name
    ledger = read_ledger(run)
    mixture = json.loads((run / RECORDS / "mixture.json").read_text(encoding="utf-8"))
    curve = said["curve"]
    for k, task in enumerate(said["tasks"]):
        exact, loss = (
            read_json(run / "eval" / suite_name(metric) / f"{task}.json")["score"]
            for metric in ("exact_match", "loss")
        )
        tokens = ledger["tasks"][task]["tokens"]
        yield {
            "regime": cell.regime,
            "arm": cell.arm,
            "budget": cell.budget,
            "learning_rate": cell.learning_rate,
            "seed": cell.seed,
            "reported": shown,
            "task": task,
            "tokens": tokens,
            "repeats": tokens / said["available_tokens"][k],
            "run_tokens": ledger["used"],
            "tokens_before": ledger["tokens_spent_before"],
            "meta_tokens": ledger["meta_tokens"],
            "steps": said["steps"],
            "seconds": said["seconds"],
            "loss": math.nan if loss is None else NATS * (1 - loss),  # it diverged
            "exact_match": exact,
            "final_share": mixture["final"][task],
            "average_share": mixture["average"][task],
            "curve_tokens": curve["tokens"],
            "curve_seconds": curve["seconds"],
            "curve_losses": [round(losses[k], 3) for losses in curve["losses"]],
        }


def write(file: Path, lines: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    """One table, whole or not at all."""
    table = pyarrow.Table.from_pylist(lines, schema=pyarrow.schema(list(columns.items())))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd", compression_level=19)
    write_atomically(file, sink.getvalue().to_pybytes())


if __name__ == "__main__":
    main()
