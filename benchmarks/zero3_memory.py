"""What a meta step under ZeRO-3 needs of the memory of each process, as in `fsdp_memory.py`.

    python benchmarks/zero3_memory.py

Buffers are as large as Transformers' `auto` makes them, and DeepSpeed lets a layer go when it has
computed, as it does with a model of more than 10^9 parameters.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ |= {"DS_ACCELERATOR": "cpu"}

import torch
from fsdp_memory import SHAPE, TASKS, peak, print_table, reset_peak, tell
from meta_steps import Bench

from adapt_axolotl.integration import zero3
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import trained_parameters


def measure() -> None:
    """Print this process's shares."""
    torch.distributed.init_process_group("gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    bench = Bench(SHAPE, TASKS, lora=False, dtype=torch.float32, device="cpu")
    parameter_bytes = bench.parameter_bytes
    engine = shard(bench)
    step(engine, bench)  # the optimizer's state is in place, the order of the modules known
    step(engine, bench)
    reset_peak()
    step(engine, bench)
    training = peak()
    reset_peak()
    zero3.is_deepspeed_zero3_enabled = lambda: True  # Trainer would have told Transformers
    with zero3.measured_in_parts(engine), evaluation_mode(bench.model):
        v = direction(
            bench.model, bench.parameters, bench.validation, bench.weights, reduce=ranks.sum
        ).v
    reader = InBackward(bench.model, trained_parameters(bench.model), v)
    step(engine, bench, reader)
    tell(v, peak() - training, parameter_bytes)
    torch.distributed.destroy_process_group()


def shard(bench: Bench) -> Any:
    import deepspeed

    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would be compiled first
    hidden = SHAPE.hidden
    engine, *_ = deepspeed.initialize(
        model=bench.model,
        optimizer=bench.optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": len(bench.training),
            "zero_optimization": {
                "stage": 3,
                "reduce_bucket_size": hidden * hidden,
                "stage3_prefetch_bucket_size": int(0.9 * hidden * hidden),
                "stage3_param_persistence_threshold": 10 * hidden,
                "stage3_max_live_parameters": 4 * hidden * hidden,
                "stage3_max_reuse_distance": 4 * hidden * hidden,
            },
            "zero_allow_untested_optimizer": True,
        },
        dist_init_required=False,
    )
    return engine


def step(engine: Any, bench: Bench, reader: InBackward | None = None) -> None:
    """A training step."""
    for batch in bench.training:
        if reader is not None:
            reader.begin(batch.row_of_token, batch.labels)
        sums, tokens = row_losses(engine, batch, whole_logits=True)
        weight = 1.0 / float(tokens.sum()) / len(bench.training)
        engine.backward(sums.sum() * weight, scale_wrt_gas=False)
        if reader is not None:
            reader.collect(weight, len(batch.task_of_row))
        engine.step()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure()
    else:
        print_table(__file__)
