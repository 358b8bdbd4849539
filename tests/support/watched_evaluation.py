"""An Axolotl plugin for a recipe of a test: what the model gives in each evaluation forward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin

FILE = "evaluation.jsonl"


class WatchedEvaluation(BasePlugin):
    """Writes a line for each forward in evaluation mode that is given labels: whether there are
    `logits`, the `loss`, and the loss of a forward `with_logits`."""

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        file = Path(cfg.output_dir) / FILE

        def write(model: Any, args: Any, inputs: dict[str, Any], output: Any) -> None:
            asked = inputs.get("skip_logits")
            if model.training or "labels" not in inputs or asked is False:
                return
            plain = trainer.model(*args, **{**inputs, "skip_logits": False})
            line = {
                "logits": output.logits is not None,
                "loss": float(output.loss),
                "with_logits": float(plain.loss),
            }
            with file.open("a") as lines:
                lines.write(json.dumps(line) + "\n")

        trainer.model.register_forward_hook(write, with_kwargs=True)


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
