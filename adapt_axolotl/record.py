"""What a run leaves behind: `<output_dir>/adapt/`, written atomically, readable by anyone.

The names and keys are a contract; see docs/architecture.md.
"""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from adapt_axolotl.run import AdaptRun


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside and rename: a reader sees the old file or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def plain(value: Any) -> Any:
    """Only what YAML can say without tags."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


# Written when a run ends; those of an earlier run in the same folder would pass for this one's.
_FINAL = ("timing.json", "ledger.json", "mixture.json", "mixture.html", "mixture.png")


class RunDirectory:
    """Writes the records of one run.

    Args:
        path: `<output_dir>/adapt`.
        config: the content of `config.yml`.
        recipe: the content of `recipe.yml`, the text that the user wrote.
    """

    def __init__(self, path: Path, config: dict[str, Any], recipe: str) -> None:
        self.path = path
        self._config = config
        self._recipe = recipe

    def begin(self, steps_done: int) -> None:
        """Start the records, or go on with those up to a checkpoint: lines written after it are
        cut off, because the steps they tell of are done again."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in _FINAL:
            (self.path / name).unlink(missing_ok=True)
        write_atomically(self.path / "recipe.yml", self._recipe)
        config = yaml.safe_dump(plain(self._config), sort_keys=False)
        write_atomically(self.path / "config.yml", config)
        kept = [line for line in read_history(self.path) if line["step"] <= steps_done]
        lines = [json.dumps(line) + "\n" for line in kept]
        write_atomically(self.path / "history.jsonl", "".join(lines))

    def append_history(self, line: dict[str, Any]) -> None:
        """Add one line, on disk before training goes on."""
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def end(self, run: AdaptRun) -> None:
        """The final records of a run."""
        from adapt_axolotl.plot import mixture_html, mixture_png

        names = run.plan.pools.tasks
        report = run.ledger.report()
        for k, name in enumerate(names):
            report["tasks"][name]["first_validation_loss"] = _finite(run.first_losses, k)
            report["tasks"][name]["last_validation_loss"] = _finite(run.last_losses, k)
        mixture = {
            "final": dict(zip(names, run.proportions.tolist(), strict=True)),
            "average": dict(zip(names, run.average().tolist(), strict=True)),
        }
        history = read_history(self.path)
        write_atomically(self.path / "timing.json", json.dumps(run.seconds, indent=2) + "\n")
        write_atomically(self.path / "ledger.json", json.dumps(report, indent=2) + "\n")
        write_atomically(self.path / "mixture.json", json.dumps(mixture, indent=2) + "\n")
        if history:
            write_atomically(self.path / "mixture.html", mixture_html(history))
            write_atomically(self.path / "mixture.png", mixture_png(history))
        Console(stderr=True).print(run_table(report, self.path.parent.name))


def _finite(losses: np.ndarray | None, task: int) -> float | None:
    return float(losses[task]) if losses is not None and np.isfinite(losses[task]) else None


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of `history.jsonl`; a last line cut short by a kill is left out."""
    file = path / "history.jsonl"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_ledger(run: Path) -> dict[str, Any]:
    """`ledger.json` of a finished run.

    Raises:
        ValueError: the folder holds no finished run.
    """
    file = run / "adapt" / "ledger.json"
    if not file.is_file():
        raise ValueError(
            f"{run}: no {file.relative_to(run)}; give the output_dir of a run that has ended"
        )
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def run_table(report: dict[str, Any], title: str) -> Table:
    """Task, tokens, share, repeats, first and last validation loss."""
    used = report["used"]
    table = Table(
        title=f"{title}: {used:,} of {report['budget']:,} supervised tokens in "
        f"{report['steps']:,} steps, {report['left']:,} left, meta steps {report['meta_tokens']:,}"
    )
    table.add_column("task")
    for column in ("tokens", "share", "repeats", "first loss", "last loss"):
        table.add_column(column, justify="right")
    for name, task in report["tasks"].items():
        table.add_row(
            name,
            f"{task['tokens']:,}",
            f"{task['tokens'] / max(1, used):.1%}",
            f"{task['repeats']:.2f}",
            *(
                "n/a" if task[key] is None else f"{task[key]:.3f}"
                for key in ("first_validation_loss", "last_validation_loss")
            ),
        )
    return table
