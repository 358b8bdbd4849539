"""Read the records that training leaves under `<output_dir>/adapt/`.

The names and keys are a contract; docs/architecture.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORDS = "adapt"  # the folder, below a run's output directory
HISTORY = "history.jsonl"
LEDGER = "ledger.json"


def read_history(run: Path) -> list[dict[str, Any]]:
    """The lines of `history.jsonl` of a run, finished or not; empty where there is none. A last
    line that a kill cut short is left out.

    Args:
        run: the output directory.

    Raises:
        ValueError: the file or a line of it is damaged.
    """
    file = run / RECORDS / HISTORY
    if not file.is_file():
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not text ({error}); restore it, or train again") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{file}, line {number}: is not JSON ({error}); remove that line"
            ) from error
        if not isinstance(content, dict):
            raise ValueError(f"{file}, line {number}: is not a JSON object; remove that line")
        found.append(content)
    return found


def meta_steps(history: Sequence[Mapping[str, Any]]) -> int:
    """How many meta steps a run took, from its history: one a line that names what was measured.
    The lines of a static run name nothing."""
    return sum(line.get("estimator") is not None for line in history)


def read_ledger(run: Path) -> dict[str, Any]:
    """`ledger.json` of a finished run.

    Args:
        run: the output directory.

    Raises:
        ValueError: the folder holds no finished run, or the file is damaged.
    """
    file = run / RECORDS / LEDGER
    if not file.is_file():
        raise ValueError(
            f"{run}: no {RECORDS}/{LEDGER}; give the output_dir of a run that has ended"
        )
    try:
        ledger = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: is damaged ({error}); restore it, or train again") from error
    if not isinstance(ledger, dict):
        raise ValueError(f"{file}: is not a JSON object; restore it, or train again")
    return ledger
