"""The model of the study, how it is trained and how it is tested: a Qwen3 of about a million
parameters, which learns the tasks from scratch in minutes. K tasks.

A run is the project's own (`AdaptRun`) in a plain PyTorch loop, which `learned_signal.py` and the
grid of `run_study.py` share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from plain_run import train_one_step
from study_data import BIN, StudyRows
from study_metrics import VOCABULARY
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.run.state import AdaptRun

WARMUP = 0.05


def make_model(seed: int) -> Qwen3ForCausalLM:
    """4 layers of 128; weights three times as large as usual, with which it leaves its first
    plateau in a third of the steps."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            tie_word_embeddings=True,
            max_position_embeddings=BIN,
            initializer_range=0.06,
        )
    )


def make_optimizer(model: Qwen3ForCausalLM) -> torch.optim.Optimizer:
    """Of all runs."""
    return torch.optim.AdamW(model.parameters(), weight_decay=0.01)


def train_to_the_end(
    run: AdaptRun,
    model: Qwen3ForCausalLM,
    optimizer: torch.optim.Optimizer,
    rows: MeasuringRows,
    learning_rate: float,
    *,
    record_every: int | None = None,
    after_step: Callable[[float], None] = lambda seconds: None,
) -> float:
    """All steps of a run that has started.

    Args:
        run: it, with its mixture and budget.
        model: what it trains.
        optimizer: of the model; its learning rate is set before each step.
        rows: its training rows.
        learning_rate: the highest of the run.
        record_every: steps from one line of history to the next; None writes none but those of
            meta steps.
        after_step: called after each step with the seconds so far.

    Returns:
        Seconds of processor time, meta steps included and `after_step` left out.
    """
    seconds = 0.0
    step, more = 0, True
    while more:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(run.progress)
        begun = time.process_time()
        train_one_step(run, model, optimizer, rows, step)
        record = record_every is not None and (step + 1) % record_every == 0
        more = run.end_step(step, record=record)
        seconds += time.process_time() - begun
        step += 1
        after_step(seconds)
    return seconds


def rate(progress: float) -> float:
    """Of the learning rate: warm-up, then a cosine."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARMUP) / (1 - WARMUP))))


@dataclass(frozen=True)
class RowResults:
    """What a model says of N rows, in their order. Arrays are (N,).

    Attributes:
        sums: of the losses of a row's supervised tokens, nats.
        tokens: how many these are.
        exact: 1 where every one of them is the likeliest after the right ones, which is the same as
            that greedy decoding gives the answer; else 0.
    """

    sums: np.ndarray
    tokens: np.ndarray
    exact: np.ndarray


class TestedRows(Protocol):
    """Tokenised test rows."""

    @property
    def pools(self) -> TaskPools: ...
    def __getitem__(self, rows: list[int]) -> Any: ...
    def digest(self) -> str: ...
    def measuring(self, device: torch.device) -> MeasuringRows: ...


@torch.no_grad()
def results_of_rows(model: PreTrainedModel, rows: TestedRows) -> RowResults:
    """Ask for every row, on the model's device."""
    measuring, count = rows.measuring(model.device), len(rows.pools.lengths)
    results = RowResults(*np.zeros((3, count)))
    model.eval()
    for part in measuring.parts(np.arange(count)):
        batch = measuring.batch(part)
        logits = model(**batch.inputs).logits[:, :-1]
        learned = batch.learned()
        labels = batch.labels[:, 1:][learned]
        losses = cross_entropy(logits[learned].float(), labels, reduction="none").cpu()
        right = (logits[learned].argmax(-1) == labels).float().cpu()
        row = batch.row_of_token[:, 1:][learned].cpu()
        whole = torch.ones(len(part)).index_reduce(0, row, right, "amin")
        np.add.at(results.sums, part[row], losses.double().numpy())
        np.add.at(results.tokens, part[row], 1)
        results.exact[part] = whole.numpy()
    model.train()
    return results


def tested(model: Qwen3ForCausalLM, rows: StudyRows) -> tuple[np.ndarray, np.ndarray]:
    """(losses per supervised token, exact match) of each task, (K,)."""
    found, pools = results_of_rows(model, rows), rows.pools
    losses = pools.by_task(found.sums) / pools.by_task(found.tokens)
    return losses, pools.by_task(found.exact) / pools.rows_of_task
