"""An Axolotl plugin that times a run's optimizer steps: `plugins: [step_timer.StepTimer]`.

Writes `steps.json` into the output folder: `seconds`, when each optimizer step had ended on the
device, and `peak_bytes`, the most that its allocator held (0 on a CPU). Runs that name one file in
`ONE_AT_A_TIME` use the device one after the other, and prepare themselves beside each other.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class StepTimer(BasePlugin):
    """From before the model is loaded to the end of training the device is this run's."""

    _turn: int | None = None

    def pre_model_load(self, cfg: Any) -> None:
        if name := os.environ.get("ONE_AT_A_TIME"):
            self._turn = os.open(name, os.O_CREAT | os.O_RDWR)
            fcntl.flock(self._turn, fcntl.LOCK_EX)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [_Clock(Path(cfg.output_dir))]

    def post_train(self, cfg: Any, model: Any) -> None:
        if self._turn is not None:
            os.close(self._turn)
            self._turn = None


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
