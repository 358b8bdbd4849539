"""Read what a finished run left, for the commands that pass a run on to other people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.config.methods import BY_LOSSES, BY_META_STEPS
from adapt_common.run_records import RECORDS, meta_steps, read_history, read_ledger


@dataclass(frozen=True)
class FinishedRun:
    """The records of a run, as docs/architecture.md describes them.

    Attributes:
        folder: its output directory.
        recipe: text of `recipe.yml`.
        config: `config.yml`.
        ledger: `ledger.json`.
        mixture: `mixture.json`.
        history: lines of `history.jsonl`.
    """

    folder: Path
    recipe: str
    config: dict[str, Any]
    ledger: dict[str, Any]
    mixture: dict[str, dict[str, float]]
    history: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """What to call it; no path, which means nothing on another machine."""
        return self.folder.resolve().name

    @property
    def meta_steps(self) -> int:
        """How many it took."""
        return meta_steps(self.history)

    @property
    def learned(self) -> bool:
        """Whether its mixture followed what it measured."""
        return self.config["mixture"] in (*BY_META_STEPS, *BY_LOSSES)

    @property
    def moved(self) -> bool:
        """Whether its mixture is another than it began with."""
        return self.meta_steps > 0 or self.config["mixture"] in BY_LOSSES


def read_finished_run(folder: Path) -> FinishedRun:
    """The records below a run's output directory.

    Raises:
        ValueError: there are none, the run has not ended, or they are of an older version.
    """
    records = folder / RECORDS
    if not (records / "config.yml").is_file():
        raise ValueError(
            f"{folder}: no adapt/config.yml; give the output_dir of a run that was trained with "
            "the adapt plugin"
        )
    if not (records / "mixture.json").is_file():
        raise ValueError(
            f"{folder}: its run has not ended (no adapt/mixture.json); let it end, or resume it "
            "with `axolotl train`"
        )
    if not (records / "recipe.yml").is_file():
        raise ValueError(
            f"{folder}: no adapt/recipe.yml, which this version keeps and earlier ones did not; "
            "train the recipe again"
        )
    try:
        return FinishedRun(
            folder=folder,
            # Bytes, because reading as text would change the line ends.
            recipe=(records / "recipe.yml").read_bytes().decode(),
            config=yaml.safe_load((records / "config.yml").read_text(encoding="utf-8")),
            ledger=read_ledger(folder),
            mixture=json.loads((records / "mixture.json").read_text(encoding="utf-8")),
            history=read_history(folder),
        )
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(
            f"{records}: one of its records is damaged ({error}); restore the folder, or train the "
            "recipe again"
        ) from error
