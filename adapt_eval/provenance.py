"""Versions, hardware and the state of the checkout: what makes a figure traceable."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from adapt_common.provenance import checkout_of
from adapt_common.provenance import package_versions as versions

# Those that can change a score; a difference in one of them is a different measurement.
SCORING_PACKAGES = (
    "adapt-axolotl",
    "lm_eval",
    "transformers",
    "torch",
    "tokenizers",
    "datasets",
    "peft",
    "vllm",
    "langdetect",
    "nltk",
)
_OTHERS = ("axolotl", "accelerate", "evaluate", "numpy", "scipy")


def package_versions(names: tuple[str, ...] = SCORING_PACKAGES + _OTHERS) -> dict[str, str]:
    """Package -> installed version, without those that are not installed."""
    return {name: found for name, found in versions(names).items() if found is not None}


def hardware(device: str) -> dict[str, Any]:
    """What it ran on."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(torch.device(device))
    return found


def checkout() -> dict[str, Any] | None:
    """Commit and dirty flag of this package's own checkout; None if it is not one."""
    return checkout_of(Path(__file__))
