"""Write the records of a run."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from adapt_axolotl.records.effects import EFFECTS
from adapt_axolotl.records.row_scores import ROW_SCORES, RowRecords
from adapt_axolotl.records.stands_out import stands_out
from adapt_axolotl.records.tables import run_table
from adapt_common.files import write_atomically
from adapt_common.plain_values import plain
from adapt_common.run_records import HISTORY, LEDGER, RECORDS, meta_steps, read_history

LOG = logging.getLogger("axolotl.adapt.records")

# Written when a run ends; those of an earlier run in the same folder would pass for this one's.
_FINAL = (
    "timing.json",
    LEDGER,
    "mixture.json",
    "mixture.html",
    "mixture.png",
    ROW_SCORES,
    EFFECTS,
)


@dataclass(frozen=True)
class FinalRecords:
    """What is known when a run ends.

    Attributes:
        ledger: the content of `ledger.json`.
        mixture: of `mixture.json`: the initial and the final mixture and the average over tokens.
        seconds: of `timing.json`.
        rows: where they were learned.
    """

    ledger: dict[str, Any]
    mixture: dict[str, dict[str, float]]
    seconds: dict[str, float]
    rows: RowRecords | None = None


class RunDirectory:
    """Writes the records of one run.

    Args:
        run: the output directory; the records are in its folder `adapt`.
        config: the content of `config.yml`.
        recipe: the content of `recipe.yml`, the text that the user wrote.
    """

    def __init__(self, run: Path, config: dict[str, Any], recipe: str) -> None:
        self._run = run
        self._path = run / RECORDS
        self._config = config
        self._recipe = recipe

    def begin(self, steps_done: int) -> None:
        """Start the records, or go on with those up to a checkpoint: lines written after it are
        cut off, because the steps they tell of are done again."""
        for name in _FINAL:
            (self._path / name).unlink(missing_ok=True)
        write_atomically(self._path / "recipe.yml", self._recipe)
        config = yaml.safe_dump(plain(self._config), sort_keys=False)
        write_atomically(self._path / "config.yml", config)
        kept = [line for line in read_history(self._run) if line["step"] <= steps_done]
        lines = [json.dumps(line) + "\n" for line in kept]
        write_atomically(self._path / HISTORY, "".join(lines))

    def append_history(self, line: dict[str, Any]) -> None:
        """Add one line, on disk before training goes on."""
        with (self._path / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def end(self, records: FinalRecords) -> None:
        """Write the final records, and print the ledger as a table."""
        from adapt_axolotl.records.page_file import write_page
        from adapt_axolotl.records.plot import mixture_png
        from adapt_axolotl.records.trajectory import trajectory

        ledger, mixture = records.ledger, records.mixture
        self._write_json("timing.json", records.seconds)
        self._write_json(LEDGER, ledger)
        self._write_json("mixture.json", mixture)
        if records.rows is not None:
            records.rows.write(self._path)
        history = read_history(self._run)
        drawn = trajectory(history, ledger, mixture["initial"])
        evidence = stands_out(history)
        count = meta_steps(history)
        write_page(self._run)
        write_atomically(self._path / "mixture.png", mixture_png(drawn))
        Console(stderr=True).print(run_table(ledger, self._run.name, count))
        if evidence:
            LOG.info(evidence)
        if records.rows is not None:
            LOG.info(
                f"rows: {int(records.rows.doubtful.sum()):,} of {len(records.rows.part):,} are "
                "expected to lose more than a deviation above their task's mean; "
                f"`adapt-axolotl rows {self._run}` writes them"
            )

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        write_atomically(self._path / name, json.dumps(content, indent=2) + "\n")
