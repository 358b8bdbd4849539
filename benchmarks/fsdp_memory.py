"""What a meta step under FSDP2 needs of the memory of each process (two and four, by gloo).

    python benchmarks/fsdp_memory.py

`v` is what a process holds of v, `reading` the peak of a meta step by `in_backward` (v, then a
training step that is read) beyond the peak of a training step; both over the bytes of the trained
parameters, all processes together. One process does not shard.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from fsdp_modules import shard
from meta_steps import WIDE, Bench
from torch import Tensor

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import held_here, trained_parameters

# Many layers beside a small vocabulary: one module's part is then little of v, as in a large model.
SHAPE = replace(WIDE, name="Qwen3, 16 layers of 512", layers=16, vocabulary=4096, rows=64)
TASKS = 4


def print_table(script: str) -> None:
    """Of 1, 2 and 4 processes that run the script."""
    print(f"{SHAPE.name}, vocabulary of {SHAPE.vocabulary:,}, float32, CPU")
    print("| processes | v / parameters | reading / parameters |")
    print("| ---: | ---: | ---: |")
    for processes in (1, 2, 4):
        v, reading = shares(script, processes)
        print(f"| {processes} | {v:.2f} | {reading:.2f} |", flush=True)


def shares(script: str, processes: int) -> tuple[float, float]:
    """`v` and `reading` of the process with most, in processes of their own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, f"--nproc_per_node={processes}", script, "measure"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        # Large blocks go back to the system at once, so that the peak is what was in use.
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    numbers = re.findall(r"shares (\S+) (\S+)", found.stdout)
    assert len(numbers) == processes
    return max(float(v) for v, _ in numbers), max(float(reading) for _, reading in numbers)


def measure() -> None:
    """Print this process's shares."""
    torch.distributed.init_process_group("gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    bench = Bench(SHAPE, TASKS, lora=False, dtype=torch.float32, device="cpu")
    parameter_bytes = bench.parameter_bytes
    if ranks.count > 1:
        shard(bench.model)
        bench.parameters = trained_parameters(bench.model)
        bench.optimizer = torch.optim.AdamW(bench.parameters, lr=1e-5)
    bench.step()  # the optimizer's state is in place
    reset_peak()
    bench.step()
    training = peak()
    reset_peak()
    with evaluation_mode(bench.model):
        v = direction(
            bench.model, bench.parameters, bench.validation, bench.weights, reduce=ranks.sum
        ).v
    reader = InBackward(bench.model, trained_parameters(bench.model), v)
    bench.step(reader)
    reading = peak() - training
    tell(v, reading, parameter_bytes)
    torch.distributed.destroy_process_group()


def tell(v: list[Tensor], reading: int, parameter_bytes: int) -> None:
    """Print this process's shares, in one write: lines of several processes would mix."""
    held = sum(held_here(part).numel() * part.element_size() for part in v)
    sys.stdout.write(f"shares {held / parameter_bytes} {reading / parameter_bytes}\n")
    sys.stdout.flush()


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak() -> int:
    """Most bytes that this process has had in memory since `reset_peak`."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure()
    else:
        print_table(__file__)
