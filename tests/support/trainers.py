"""A trainer in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from axolotl.cli.config import load_cfg
from axolotl.integrations.base import PluginManager
from axolotl.train import setup_model_and_trainer


def make_trainer(config: dict[str, Any], folder: Path) -> Any:
    """What `axolotl train` trains with, in this process."""
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(config))
    cfg = load_cfg(str(file))
    meta_data = PluginManager.get_instance().load_datasets(cfg)
    return setup_model_and_trainer(cfg, meta_data)[0]
