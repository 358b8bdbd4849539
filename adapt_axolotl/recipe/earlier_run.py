"""A finished run that a recipe's mixture comes from: one to draw again, or one to be compared with.

What is read is its folder at the start of a run, and again where that is resumed; the checkpoint
holds what was made of it, so that a folder that has changed meanwhile is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_common.run_records import RECORDS, read_history, read_ledger

LOG = logging.getLogger("axolotl.adapt.recipe")


@dataclass(frozen=True)
class EarlierRun:
    """The records of the run.

    Attributes:
        key: of the recipe that names it.
        folder: its output directory.
        ledger: `ledger.json`.
        mixture: `mixture.json`.
        history: the lines of `history.jsonl`.
        unit: what its shares count.
        data_digest: of its rows; None where an older version wrote the records.
    """

    key: str
    folder: str
    ledger: dict[str, Any]
    mixture: dict[str, dict[str, float]]
    history: list[dict[str, Any]]
    unit: str
    data_digest: str | None = None

    @property
    def tokens_spent(self) -> int:
        """As the function of that name says."""
        return tokens_spent(self.ledger)

    def losses(self, names: Sequence[str]) -> list[float]:
        """Of these tasks, validation losses after its last step, nats a supervised token."""
        return [self.ledger["tasks"][name]["last_validation_loss"] for name in names]


def tokens_spent(ledger: Mapping[str, Any]) -> int:
    """Of a run by its `ledger.json`: supervised tokens that it trained on and that its meta steps
    read, and those of the runs that its own mixture came from."""
    before: int = ledger.get("tokens_spent_before", 0)
    return before + int(ledger["used"]) + int(ledger["meta_tokens"])


def earlier_run(adapt: AdaptConfig, names: Sequence[str]) -> EarlierRun | None:
    """The run that the block names; None where it names none.

    Args:
        adapt: the block.
        names: of the tasks that are trained on.

    Raises:
        ValueError: its folder holds no finished run, one over other tasks, or one whose shares
            count something else.
    """
    if adapt.earlier is None:
        return None
    key, folder = f"adapt.{adapt.earlier[0]}", adapt.earlier[1]
    records = Path(folder) / RECORDS
    try:
        ledger = read_ledger(Path(folder))
        config = _parsed(records / "config.yml", yaml.safe_load)
        run = EarlierRun(
            key=key,
            folder=folder,
            ledger=ledger,
            mixture=_parsed(records / "mixture.json", json.loads),
            history=read_history(Path(folder)),
            unit=_unit(config),
            data_digest=config.get("data_digest"),
        )
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    _check_tasks(run, names)
    if adapt.mixture == "replay" and run.unit != adapt.share_unit:
        raise ValueError(
            f"{key}: the shares of {folder} count {run.unit}, and those of this recipe "
            f"{adapt.share_unit}; set unit: {run.unit}"
        )
    return run


def warn_of_other_rows(run: EarlierRun | None, digest: str) -> None:
    """Losses of a reference are compared with those of this run's rows; digest: of these."""
    if run is None or run.key != "adapt.reference" or run.data_digest in (None, digest):
        return
    LOG.warning(
        f"{run.key}: {run.folder} trained or measured other rows than this recipe's, so its losses "
        "may not be what these tasks can reach"
    )


def _parsed(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: is damaged ({error}); restore it, or train again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: is damaged (no mapping); restore it, or train again")
    return content


def _check_tasks(run: EarlierRun, names: Sequence[str]) -> None:
    tasks = run.ledger["tasks"]
    missing = [name for name in names if not tasks.get(name, {}).get("rows")]
    if missing:
        raise ValueError(
            f"{run.key}: {run.folder} did not train on task {missing[0]!r}; give a run over the "
            "same tasks, or name the task as it is named there"
        )
    unknown = [name for name, task in tasks.items() if task["rows"] and name not in names]
    if unknown and run.key == "adapt.replay":
        raise ValueError(
            f"{run.key}: {run.folder} trained on task {unknown[0]!r} too, which this recipe does "
            "not have; give a run over the same tasks, or add the task to datasets"
        )
    silent = [name for name in names if tasks[name]["last_validation_loss"] is None]
    if silent and run.key == "adapt.reference":
        raise ValueError(
            f"{run.key}: {run.folder} does not tell a last validation loss of task {silent[0]!r}, "
            "because it was not finite; give a run in which it is"
        )


def _unit(config: dict[str, Any]) -> str:
    """What the shares of a run count, from its `config.yml`."""
    adapt = config["recipe"]["adapt"]
    default = "examples" if adapt.get("mixture") == "round_robin" else "tokens"
    return str(adapt.get("unit") or default)


def check_output_directory(adapt: AdaptConfig, output: object) -> None:
    """
    Raises:
        ValueError: the recipe trains into the folder of the run that its mixture comes from, whose
            records it would write over.
    """
    if adapt.earlier is None or not isinstance(output, str):
        return
    key, folder = adapt.earlier
    if Path(folder).resolve() == Path(output).resolve():
        raise ValueError(
            f"adapt.{key}: {folder} is this recipe's own output_dir, where its records would write "
            "over those of that run; set another output_dir"
        )
