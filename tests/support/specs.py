"""Recipes as the integration reads them, without Axolotl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.integration.spec import TrainingSpec


def make_spec(adapt: dict[str, Any] | None = None, **changes: Any) -> TrainingSpec:
    """A plain recipe; `changes` replace fields of the spec."""
    fields = {
        "seed": 0,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": None,
        "sequence_len": 64,
        "eval_sequence_len": 64,
        "sample_packing": False,
        "eval_sample_packing": False,
        "packs_into_one": False,
        "compiled": False,
        "flex_attention": False,
        "fused_loss": False,
        "weighs_tokens": False,
        "deduplicate": False,
        "prepared": Path("prepared"),
        "output_dir": Path("run"),
        "resumes_by_itself": False,
        **changes,
    }
    return TrainingSpec(adapt=AdaptConfig(**(adapt or {"token_budget": 100})), **fields)
