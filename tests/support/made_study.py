"""Finished cells of the study with made results: what is collected and shown, without training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml
from study_arms import ARMS
from study_data import StudyRows
from study_grid import UNTUNED, Cell
from study_model import RowResults
from study_results import write_results

TASKS = ("g2p_greek", "g2p_welsh", "inflect_macedonian", "inflect_navajo", "scan")
ROWS, TOKENS, MOMENTS = 12, 5, 4


class Words:
    """A tokenizer of numbers with spaces between them."""

    def encode(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(ids=[10 + int(word) for word in text.split()])


def made_rows() -> StudyRows:
    """So many test rows of each task."""
    examples = [
        (task, f"{k} {row}", " ".join("1" * (TOKENS - 1)))
        for k, task in enumerate(TASKS)
        for row in range(ROWS)
    ]
    return StudyRows(examples, Words(), TASKS)  # type: ignore[arg-type]


def made_study(out: Path, cells: Iterable[Cell], better: dict[str, float]) -> None:
    """Write the folders of finished cells.

    Args:
        out: folder of the study.
        cells: which.
        better: arm -> by how much its rows' losses are lower, and are right more often; the best
            learning rate is that of untuned runs.
    """
    rows = made_rows()
    for cell in cells:
        gain = better.get(cell.arm, 0.0) - 10 * abs(cell.learning_rate - UNTUNED)
        random = np.random.default_rng([cell.seed, list(ARMS).index(cell.arm)])
        losses = 1.5 - gain + 0.1 * random.normal(size=len(TASKS) * ROWS)
        exact = (random.random(len(losses)) < 0.3 + 0.5 * gain).astype(float)
        place = out / cell.name
        (place / "adapt").mkdir(parents=True)
        _records(place, cell)
        tokens = np.full(len(losses), float(TOKENS))
        write_results(place, cell.name, rows, RowResults(losses * TOKENS, tokens, exact), "0" * 16)
        at = np.linspace(0, 1, MOMENTS + 1)[1:]
        said = {
            "cell": {key: getattr(cell, key) for key in Cell.__dataclass_fields__},
            "tasks": list(TASKS),
            "steps": 10,
            "available_tokens": [400] * len(TASKS),
            "seconds": 3.0,
            "curve": {
                "tokens": (1000 * at).tolist(),
                "seconds": (3 * at).tolist(),
                "losses": [[round(2.5 - gain - one, 4)] * len(TASKS) for one in at],
            },
            "wall_seconds": 5.0,
        }
        (place / "cell.json").write_text(json.dumps(said), encoding="utf-8")


def _records(place: Path, cell: Cell) -> None:
    """What is read of a run's own records."""
    shares = dict(zip(TASKS, (0.1, 0.1, 0.2, 0.2, 0.4), strict=True))
    ledger = {
        "unit": "supervised tokens",
        "budget": 1000,
        "used": 1000,
        "meta_tokens": 20 if cell.arm == "learned" else 0,
        "tokens_spent_before": 2000 if cell.arm == "doremi" else 0,
        "tasks": {task: {"tokens": int(1000 * share)} for task, share in shares.items()},
    }
    config = {"recipe": {"seed": cell.seed}}
    (place / "adapt" / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
    (place / "adapt" / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    mixture = json.dumps({"final": shares, "average": shares})
    (place / "adapt" / "mixture.json").write_text(mixture, encoding="utf-8")
