"""Versions, hardware and the state of the checkout: what makes a figure traceable."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
    return {"commit": commit, "dirty": dirty} if tracked else None
