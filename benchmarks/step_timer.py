"""An Axolotl plugin that times a run's optimizer steps: `plugins: [step_timer.StepTimer]`.

Writes `steps.json` into the output folder: `seconds`, when each optimizer step had ended on the
device, and `peak_bytes`, the most that its allocator held (0 on a CPU).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class StepTimer(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [_Clock(Path(cfg.output_dir))]


class _Clock(TrainerCallback):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seconds: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._seconds.append(time.perf_counter())

    def on_train_end(self, *_: Any, **__: Any) -> None:
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        found = {"seconds": self._seconds, "peak_bytes": peak}
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "steps.json").write_text(json.dumps(found), encoding="utf-8")
