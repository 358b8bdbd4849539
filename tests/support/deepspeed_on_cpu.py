"""`axolotl train` under real DeepSpeed on CPU processes: torchrun this file with a recipe.

accelerate and DeepSpeed take for granted that a distributed run without `ACCELERATE_USE_CPU` has
GPUs and NCCL; here they get gloo. Nothing else of them is changed, and nothing of the plugin.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ |= {"DS_ACCELERATOR": "cpu", "ACCELERATE_TORCH_DEVICE": "cpu"}

import accelerate.state
import deepspeed.runtime.zero.stage_1_and_2 as stage_1_and_2
import torch
from accelerate.utils import DistributedType


def prepare_backend(self: Any, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


accelerate.state.PartialState._prepare_backend = prepare_backend

gather = stage_1_and_2.all_gather_dp_groups


@torch.no_grad()
def gather_without_grad(*args: Any, **kwargs: Any) -> Any:
    # gloo writes into views of leaves, which autograd would refuse.
    return gather(*args, **kwargs)


stage_1_and_2.all_gather_dp_groups = gather_without_grad

if __name__ == "__main__":
    from axolotl.cli.train import do_cli

    do_cli(sys.argv[1])
