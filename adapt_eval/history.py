"""The mixture over a run's tokens, from the history that training left."""

from __future__ import annotations

from pathlib import Path

from adapt_common.run_records import HISTORY, RECORDS, read_history
from adapt_eval.parsing import parse
from adapt_eval.schema import MixtureLine


def mixture_history(run: Path) -> list[MixtureLine]:
    """The lines of a run's history that tell its mixture; empty where there are none.

    Args:
        run: the output directory.

    Raises:
        ValueError: a line is damaged.
    """
    file = run / RECORDS / HISTORY
    return [
        parse(MixtureLine, line, f"{file}, line {number}", "remove that line")
        for number, line in enumerate(read_history(run), 1)
        if line.get("proportions")
    ]
