"""The seeds of every measurement."""

from __future__ import annotations

import sys

# lm-eval's own defaults: python, numpy, torch, few-shot.
SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}


def seed_langdetect() -> None:
    """Seed langdetect if IFEval is loaded: unseeded, it gives several answers for one text."""
    if "lm_eval.tasks.ifeval" in sys.modules:
        import langdetect

        langdetect.DetectorFactory.seed = 0
