"""The core rooms on an accelerator: Qwen3-0.6B from config in bfloat16, rows of 2,048 tokens, K=20.

    python benchmarks/gpu.py [--repeats 5]

Time of a meta step over that of a training step on the same tokens, peak memory beside training
over the bytes of the trained parameters, and how far each estimator is from one backward a task.
Without an accelerator it runs a small shape in float32 on the CPU, and says so.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from meta_step_cost import extra_memory, meta_step_ratios
from meta_steps import QWEN3_06B, SMALL, Bench

LOOPS = ("in_backward", "finite_difference")
TASKS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    gpu = torch.cuda.is_available()
    shape, dtype = (QWEN3_06B, torch.bfloat16) if gpu else (SMALL, torch.float32)
    where = torch.cuda.get_device_name() if gpu else "CPU (no accelerator found: a small shape)"
    print(f"{shape.name}, {dtype}, {shape.rows} rows of {shape.tokens} tokens, K={TASKS}, {where}")
    print("| training | loop | meta step / training step | extra memory / parameters | error |")
    print("| --- | --- | ---: | ---: | ---: |")
    for lora in (False, True):
        bench = Bench(shape, TASKS, lora=lora, dtype=dtype, device="cuda" if gpu else "cpu")
        errors = errors_of(bench)
        for loop in LOOPS:
            ratios = meta_step_ratios(bench, loop, repeats)
            memory = cuda_memory(bench, loop) if gpu else extra_memory(loop, TASKS, lora)
            print(
                f"| {'LoRA' if lora else 'full'} | {loop} | {statistics.median(ratios):.2f} "
                f"[{min(ratios):.2f}, {max(ratios):.2f}] | {memory:.2f} | {errors[loop]:.1e} |",
                flush=True,
            )


def cuda_memory(bench: Bench, loop: str) -> float:
    """(Peak with the loop - peak of training) / bytes of the trained parameters."""

    def peak(name: str) -> int:
        torch.cuda.reset_peak_memory_stats()
        getattr(bench, name)()
        return torch.cuda.max_memory_allocated()

    return (peak(loop) - peak("step")) / bench.parameter_bytes


def errors_of(bench: Bench) -> dict[str, float]:
    """Largest difference from one backward a task over the largest score, at the same weights and
    along the same v."""
    v = bench.v()
    expected = bench.scores("per_task", v)
    found = {
        "in_backward": bench.read_scores(v),
        "finite_difference": bench.scores("finite_difference", v),
    }
    scale = expected.abs().max()
    return {name: float((scores - expected).abs().max() / scale) for name, scores in found.items()}


if __name__ == "__main__":
    main()
