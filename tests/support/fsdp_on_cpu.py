"""`axolotl train` under real FSDP on CPU processes: torchrun this file with a recipe.

accelerate and Axolotl take for granted that a sharded run has GPUs and NCCL; here they get gloo and
a mesh of CPU processes. Nothing else of them is changed, and nothing of the plugin.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"

import accelerate.state
from accelerate.parallelism_config import ParallelismConfig
from accelerate.utils import DistributedType


def prepare_backend(self: Any, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


accelerate.state.PartialState._prepare_backend = prepare_backend

build_device_mesh = ParallelismConfig.build_device_mesh
ParallelismConfig.build_device_mesh = lambda self, device: build_device_mesh(self, "cpu")

if __name__ == "__main__":
    from axolotl.cli.train import do_cli

    do_cli(sys.argv[1])
