"""How long the training took that made a model, from the records of an ADAPT run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapt_common.run_records import RECORDS
from adapt_eval.parsing import parse
from adapt_eval.results import read_json
from adapt_eval.schema import Record

_REMEDY = "restore it, or train again"


class Timing(Record):
    """`adapt/timing.json`: seconds of the training loop, meta steps included."""

    training: float


def training_seconds(runs: Sequence[Path]) -> float | None:
    """Mean over the runs of an arm; None where one does not tell.

    Raises:
        ValueError: a record is damaged.
    """
    files = [run / RECORDS / "timing.json" for run in runs]
    if not all(file.is_file() for file in files):
        return None
    timings = [parse(Timing, read_json(file), file, _REMEDY).training for file in files]
    return sum(timings) / len(timings)
