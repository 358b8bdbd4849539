"""What a meta step needs at the vocabularies of Qwen3 and Gemma 3, beside a training step with a
loss that never makes all logits.

    python benchmarks/vocabulary_memory.py [--repeats 3]

Memory is the peak that the allocator counts (`allocated_bytes.py`), beyond what is held all the
time: weights, states of the optimizer and, where it is used, v. Time is processor time over that of
the training step with the fused loss, the median of repeats that alternate with it; all passes are
over the same number of tokens: one micro-batch, and four in the last line.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from allocated_bytes import peak_bytes
from fused_loss import train_by_fused_loss
from meta_steps import Bench, Shape
from torch import Tensor

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.row_losses import RowLosses
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, InBackward
from adapt_axolotl.metagradient.losses import task_losses
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.task_batch import TaskBatch

SHAPE = Shape("Qwen3, 2 layers of 64", 64, 192, 2, 2, 1, 32, 0, 2, 128, 2)
VOCABULARIES = (4096, 151_936, 262_144)
KINDS = ("tied", "untied", "LoRA")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    tokens = SHAPE.micro_batch * SHAPE.tokens
    print(f"{SHAPE.name}; micro-batches of {tokens} tokens, float32, CPU")
    print("| head | vocabulary | what | peak, MiB | beyond the step, MiB | time / step |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for kind in arguments.kinds.split(","):
        for vocabulary in VOCABULARIES:
            for line in lines_of(vocabulary, kind, arguments.repeats):
                print(f"| {kind} | {vocabulary:,} | {line} |", flush=True)


def lines_of(vocabulary: int, kind: str, repeats: int) -> Iterator[str]:
    plain = FusedBench(vocabulary, kind, fused=False)
    yield f"training step that makes all logits | {peak_bytes(plain.step) / MIB:.0f} | | "
    del plain
    bench = FusedBench(vocabulary, kind)
    yield f"bytes of the trained parameters | {bench.parameter_bytes / MIB:.0f} | | "
    bench.step()
    training = peak_bytes(bench.step)
    yield f"training step, fused loss | {training / MIB:.0f} | 0 | 1"
    for name, work in bench.works().items():
        ratio = ratio_to_step(bench, work, repeats)
        peak = peak_bytes(work)
        yield f"{name} | {peak / MIB:.0f} | {(peak - training) / MIB:+.0f} | {ratio:.2f}"
    bench = FusedBench(vocabulary, kind, micro_batches=4)
    bench.v()
    yield f"v of four micro-batches | | | {ratio_to_step(bench, bench.v, repeats):.2f}"


def ratio_to_step(bench: FusedBench, work: Callable[[], object], repeats: int) -> float:
    """Median."""
    ratios = []
    for _ in range(repeats):
        step = bench.seconds(bench.step)
        ratios.append(bench.seconds(work) / step)
    return statistics.median(ratios)


class FusedBench(Bench):
    """A training step with a fused loss, and all that a meta step may do beside it.

    Args:
        vocabulary: of the model.
        kind: the head is that of the embeddings and trained, is its own and trained, or is frozen.
        fused: train by the fused loss, and not by Transformers' own.
        micro_batches: of a step.
    """

    def __init__(
        self,
        vocabulary: int,
        kind: str,
        *,
        fused: bool = True,
        micro_batches: int = 1,
        device: str = "cpu",
    ) -> None:
        rows = micro_batches * SHAPE.micro_batch
        shape = replace(SHAPE, vocabulary=vocabulary, tied=kind != "untied", rows=rows)
        super().__init__(shape, 2, lora=kind == "LoRA", dtype=torch.float32, device=device)
        self.fused = fused
        if fused:
            train_by_fused_loss(self.model)

    def loss(self, batch: TaskBatch) -> Any:
        return self.model(**batch.inputs, labels=batch.labels)

    def backward(self, batch: TaskBatch) -> None:
        output = self.loss(batch)
        (output if self.fused else output.loss).div(len(self.training)).backward()

    def step(self, reader: InBackward | None = None) -> list[Tensor]:
        """Without the optimizer's own, which holds the same whatever was measured."""
        products = self.backwards(reader)
        self.optimizer.zero_grad(set_to_none=True)
        return products

    def works(self) -> dict[str, Callable[[], object]]:
        """What is measured, by name."""
        model, parameters, v = self.model, self.parameters, self.v()
        losses = RowLosses(model) if self.fused else None

        def read() -> None:
            reader = InBackward(model, parameters, v, fused_loss=self.fused)
            self.step(reader)
            reader.remove()

        def with_row_losses() -> None:
            assert losses is not None
            for batch in self.training:
                losses.before(batch)
                loss = self.loss(batch)
                losses.take({}, batch.inputs)
                loss.div(len(self.training)).backward()
            self.optimizer.zero_grad(set_to_none=True)

        def check() -> None:
            with evaluation_mode(model):
                found = check_estimator(
                    IN_BACKWARD, model, parameters, [self.training[0]], v, 2, fused_loss=self.fused
                )
            assert found.passed, found.reason

        def validation() -> None:
            with evaluation_mode(model):
                task_losses(model, self.validation, 2)

        return {
            "the step with the losses of its rows": with_row_losses,
            "validation losses": validation,
            "v": self.v,
            "the step, read by in_backward": read,
            "finite_difference": lambda: self.scores("finite_difference", v),
            "the check at the start": check,
        }


if __name__ == "__main__":
    main()
