"""A run of a Qwen3 of about a million parameters on the study's tasks, which it learns from scratch
in minutes. K tasks.

A run is the project's own (`AdaptRun`) in a plain PyTorch loop, which `learned_signal.py` and the
study (`study_run.py`) share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from plain_run import train_one_step
from study_data import BIN, Data, StudyRows
from study_learners import LEARNING_RATE, Learning, Watched, make_learner
from study_metrics import VOCABULARY
from transformers import Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.learning import Learner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.static import static_proportions
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape

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


@dataclass(frozen=True)
class Outcome:
    """What a run ended with. Arrays are (K,).

    Attributes:
        steps: optimizer steps.
        used: supervised tokens trained on.
        meta_tokens: read by meta steps, charged to the budget.
        final: the last proportions.
        average: over the tokens of the run.
        losses: on the test rows, per supervised token.
        exact: share of test rows of which every token is the likeliest.
        over_noise: as the last meta step found it; NaN without one.
        seconds: of processor time, meta steps included.
        meta_seconds: of meta steps.
        row_scores: (N,) of the training rows, where they were learned.
    """

    steps: int
    used: int
    meta_tokens: int
    final: np.ndarray
    average: np.ndarray
    losses: np.ndarray
    exact: np.ndarray
    over_noise: float
    seconds: float
    meta_seconds: float
    row_scores: np.ndarray | None = None


def train(
    data: Data,
    *,
    seed: int,
    budget: int,
    bins: int,
    charged: bool = True,
    initial: np.ndarray | None = None,
    learning: Learning | None = None,
    learn_rows: bool = False,
) -> Outcome:
    """One run.

    Args:
        data: of the regime.
        seed: of the model and of the draws.
        budget: supervised tokens.
        bins: of 512 tokens in an optimizer step.
        charged: meta tokens count against the budget.
        initial: (K,) proportions that it starts with; uniform by default.
        learning: of a learned mixture; None for a static one.
        learn_rows: draw rows within a task by their losses.
    """
    pools = data.train.pools
    count = len(pools.tasks)
    plan = RunPlan(
        pools=pools,
        budget=budget,
        shape=BlockShape(1, bins, BIN),
        unit="tokens",
        ordered=False,
        seed=seed,
        max_repeats=None,
        charge_meta_tokens=charged,
        initial=static_proportions("uniform", pools.available_tokens.tolist())
        if initial is None
        else initial,
        max_steps=None,
        learn_rows=learn_rows,
    )
    model = make_model(seed)
    rows, validation = data.train.measuring(), data.validation.measuring()
    learner: Learner | None = None
    if learning is not None:
        held_out = data.validation.pools
        learner = make_learner(learning, plan, model, rows, validation, held_out)

    def measure(rows_per_task: int) -> np.ndarray:
        sample = validation.sample(rows_per_task, seed=seed)
        with evaluation_mode(model):
            return validation_losses(model, validation, sample, count, Ranks())

    run = AdaptRun(plan, learner, measure, None)
    meta_steps = Watched()
    if learner is not None:
        meta_steps.watch(learner)
    run.start()
    seconds = train_to_the_end(run, model, make_optimizer(model), rows, LEARNING_RATE)
    losses, exact = tested(model, data.test)
    return Outcome(
        steps=run.ledger.steps,
        used=run.ledger.used,
        meta_tokens=run.ledger.meta_tokens,
        final=run.mixture.proportions,
        average=run.average(),
        losses=losses,
        exact=exact,
        over_noise=meta_steps.over_noise,
        seconds=seconds,
        meta_seconds=meta_steps.seconds,
        row_scores=None if (rows := run.row_records()) is None else rows.score,
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


@torch.no_grad()
def results_of_rows(model: Qwen3ForCausalLM, rows: StudyRows) -> RowResults:
    """Ask for every row."""
    measuring, count = rows.measuring(), len(rows.pools.lengths)
    results = RowResults(*np.zeros((3, count)))
    model.eval()
    for part in measuring.parts(np.arange(count)):
        batch = measuring.batch(part)
        logits = model(**batch.inputs).logits[:, :-1]
        learned = batch.learned()
        labels, row = batch.labels[:, 1:][learned], batch.row_of_token[:, 1:][learned]
        losses = torch.nn.functional.cross_entropy(logits[learned], labels, reduction="none")
        right = (logits[learned].argmax(-1) == labels).float()
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
