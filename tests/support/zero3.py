"""Shard a small model by DeepSpeed ZeRO-3, in a process of `two_processes`."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from adapt_axolotl.metagradient.ranks import Ranks


def zero3_engine(model: torch.nn.Module, ranks: Ranks, keep_whole: int = 0) -> Any:
    """DeepSpeed's engine around the model, with two micro-batches a step.

    Args:
        keep_whole: parameters of at most so many numbers are, between their uses; DeepSpeed's own
            100,000 are all of a small model.
    """
    os.environ |= {
        "DS_ACCELERATOR": "cpu",
        "LOCAL_RANK": str(ranks.rank),
        "RANK": str(ranks.rank),
        "WORLD_SIZE": str(ranks.count),
    }
    import deepspeed

    # What it would compile first is no matter here.
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 2,
            "zero_optimization": {
                "stage": 3,
                "stage3_param_persistence_threshold": keep_whole,
            },
            "zero_allow_untested_optimizer": True,
        },
        dist_init_required=False,
    )
    return engine
