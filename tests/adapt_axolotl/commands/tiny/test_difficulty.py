"""A short training finds the difficulties that the table states. B rows, T tokens."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, Qwen3ForCausalLM

from adapt_axolotl.commands.tiny.tasks import TASKS

STEPS, ROWS, LEARNING_RATE = 80, 24, 3e-3
Encoded = tuple[list[int], int]
"""(token ids, tokens of the prompt)"""


def loss(model: PreTrainedModel, rows: list[Encoded]) -> torch.Tensor:
    """Mean over supervised tokens, of rows padded to (B, T)."""
    width = max(len(ids) for ids, _ in rows)
    padded = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    labels = torch.full_like(padded, -100)
    for row, (ids, prompt) in enumerate(rows):
        labels[row, prompt : len(ids)] = padded[row, prompt : len(ids)]
    return model(input_ids=padded, labels=labels).loss


@pytest.mark.slow
def test_easy_tasks_are_learned_before_hard_ones_and_noise_never(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny / "model"))

    def encode(row: tuple[str, str]) -> Encoded:
        question, answer = row
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(prompt).input_ids
        return ids + tokenizer(answer + "<|im_end|>").input_ids, len(ids)

    pools = {
        task.name: [[encode(row) for row in rows] for rows in task.draw()]
        for task in TASKS
        if task.name in ("constant", "yes_no", "reverse", "noise")
    }
    torch.manual_seed(0)
    rng = random.Random(0)
    model = Qwen3ForCausalLM(AutoConfig.from_pretrained(str(tiny / "model")))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    train = {name: rows for name, (rows, _) in pools.items()}
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, (step + 1) / 20)
        batch = [rng.choice(train[rng.choice(list(train))]) for _ in range(ROWS)]
        loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        last = {name: float(loss(model, rows)) for name, (_, rows) in pools.items()}
    assert last["constant"] < 0.05
    assert last["constant"] < last["yes_no"] < 0.5
    assert last["yes_no"] < 1 < last["reverse"]
    # Nine letters that nothing tells, and an end that the length tells.
    assert last["noise"] > 0.95 * 9 / 10 * math.log(26)
