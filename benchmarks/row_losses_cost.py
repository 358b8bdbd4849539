"""What the default measure adds to a training step: the losses of its rows.

    python benchmarks/row_losses_cost.py [--repeats 7]

A step is a forward with Transformers' own loss, a backward and AdamW; between forward and backward
the losses of rows are taken as the trainer takes them. Their processor time over that of the rest
of the same step, median [least, most].
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.integration.row_losses import RowLosses
from adapt_axolotl.metagradient.task_batch import TaskBatch

ROWS, TOKENS, SUPERVISED = 4, 64, 21
# (layers, width, vocabulary)
SHAPES = ((4, 256, 4096), (8, 256, 151_936), (4, 1024, 151_936))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Qwen3; {ROWS} rows of {TOKENS} tokens a step, {SUPERVISED} of them supervised")
    print("| layers | width | vocabulary | losses of rows / the rest of the step |")
    print("| ---: | ---: | ---: | ---: |")
    for layers, width, vocabulary in SHAPES:
        ratios = measured(layers, width, vocabulary, arguments.repeats)
        print(
            f"| {layers} | {width} | {vocabulary:,} | {statistics.median(ratios):.3f} "
            f"[{min(ratios):.3f}, {max(ratios):.3f}] |",
            flush=True,
        )


def measured(layers: int, width: int, vocabulary: int, repeats: int) -> list[float]:
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            num_key_value_heads=width // 128,
            head_dim=64,
            tie_word_embeddings=True,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    losses = RowLosses(model)
    ids = torch.randint(3, vocabulary, (ROWS, TOKENS))
    labels = torch.full_like(ids, -100)
    labels[:, -SUPERVISED:] = ids[:, -SUPERVISED:]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    numbers = torch.arange(ROWS)
    batch = TaskBatch(inputs, labels, numbers[:, None].expand(ROWS, TOKENS), numbers)

    def step() -> float:
        moments = [time.process_time()]
        losses.before(batch)
        outputs = model(**inputs, labels=labels)
        moments.append(time.process_time())
        losses.take(outputs, inputs)
        moments.append(time.process_time())
        outputs.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        moments.append(time.process_time())
        forward, rows, backward = (moments[i + 1] - moments[i] for i in range(3))
        return rows / (forward + backward)

    step()
    return [step() for _ in range(repeats)]


if __name__ == "__main__":
    main()
