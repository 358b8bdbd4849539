"""What `plan --gpu` says of an estimate: whether a process fits, and what would make it smaller."""

from __future__ import annotations

from adapt_axolotl.commands.preview.fake_step import StepShape
from adapt_axolotl.commands.preview.memory import CUDA, MARGIN, MemoryEstimate


def memory_note(memory: MemoryEstimate, gpu: float, shape: StepShape) -> str:
    """A sentence or two. gpu: what it has, in GiB."""
    if memory.obstacle is not None:
        return f"Memory: cannot be estimated: {memory.obstacle}"
    parts = (
        f"weights {_gib(memory.weights)}, optimizer {_gib(memory.optimizer)}, gradients and "
        f"activations of {shape.sequences} x {shape.tokens:,} tokens {_gib(memory.step)}, what "
        f"measuring for the mixture adds {_gib(memory.adapt)}, CUDA's own {_gib(CUDA)}"
    )
    said = (
        f"Memory of a process, estimated: {_gib(memory.total)} GiB, give or take {MARGIN:.0%} "
        f"({parts}). "
    )
    room = gpu * 2**30
    if memory.total * (1 + MARGIN) <= room:
        return said + f"It fits a GPU of {gpu:g} GiB."
    verdict = "may not fit" if memory.total * (1 - MARGIN) <= room else "does not fit"
    return (
        said
        + f"It {verdict} a GPU of {gpu:g} GiB; what lowers it: "
        + ("; ".join(memory.remedies) + ".")
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
