"""What a meta step costs: time and peak memory against a training step on the same tokens.

    python benchmarks/meta_step_cost.py [--repeats 9] [--tasks 4,20,64,256] [--loops LOOP,...]

All figures are ratios within one process, median [least, most] of repeats that alternate with the
step they are divided by. A meta step's time is that of its loop less one training step. Memory is
the peak of a process that runs the loop, less that of one that only trains, over the bytes of the
trained parameters.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from meta_steps import LOOPS, SMALL, WIDE, Bench

# DoGE keeps K gradients: of the wide model, with 256 tasks, more than a small machine has.
MOST_TASKS_IN_MEMORY = {"doge": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tasks", default="4,20,64,256")
    parser.add_argument("--loops", default=",".join(LOOPS))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        loop, tasks, lora = arguments.peak
        print(*peak_of(loop, int(tasks), lora == "lora"))
        return
    counts = [int(count) for count in arguments.tasks.split(",")]
    tokens = SMALL.rows * SMALL.tokens
    print(f"{SMALL.name}; {tokens:,} tokens a step; one thread")
    print("| training | K | loop | meta step / training step | extra memory / parameters |")
    print("| --- | ---: | --- | ---: | ---: |")
    for lora in (False, True):
        for tasks in counts:
            bench = Bench(SMALL, tasks, lora=lora, dtype=torch.float32, device="cpu")
            for loop in arguments.loops.split(","):
                ratios = meta_step_ratios(bench, loop, arguments.repeats)
                line = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
                memory = "not run"
                if lora or tasks <= MOST_TASKS_IN_MEMORY.get(loop, tasks):
                    memory = f"{extra_memory(loop, tasks, lora):.2f}"
                kind = "LoRA" if lora else "full"
                print(f"| {kind} | {tasks} | {loop} | {line} | {memory} |", flush=True)


def meta_step_ratios(bench: Bench, loop: str, repeats: int) -> list[float]:
    """(time of the loop - time of a training step) / time of a training step, each time anew; three
    repeats are enough of what takes over four seconds."""
    work = getattr(bench, loop)
    bench.step()
    slow = bench.seconds(work) > 4
    ratios = []
    for _ in range(3 if slow else repeats):
        before = bench.seconds(bench.step)
        whole = bench.seconds(work)
        after = bench.seconds(bench.step)
        step = (before + after) / 2
        ratios.append((whole - step) / step)
    return ratios


def extra_memory(loop: str, tasks: int, lora: bool) -> float:
    """Of a wide model: (peak with the loop - peak of training) / bytes of trained parameters."""
    used, parameter_bytes = peak(loop, tasks, lora)
    return (used - peak("step", tasks, lora)[0]) / parameter_bytes


@functools.cache
def peak(loop: str, tasks: int, lora: bool) -> tuple[int, int]:
    """`peak_of` in a process of its own."""
    command = [sys.executable, __file__, "--peak", loop, str(tasks), "lora" if lora else "full"]
    # Large blocks go back to the system at once, so that the peak is what was in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    bytes_used, parameter_bytes = found.stdout.split()[-2:]
    return int(bytes_used), int(parameter_bytes)


def peak_of(loop: str, tasks: int, lora: bool) -> tuple[int, int]:
    """Peak bytes of this process, and bytes of the trained parameters."""
    bench = Bench(WIDE, tasks, lora=lora, dtype=torch.float32, device="cpu")
    bench.step()  # The optimizer's state is in place.
    getattr(bench, loop)()
    # Not ru_maxrss: a process inherits that of its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024, bench.parameter_bytes


if __name__ == "__main__":
    main()
