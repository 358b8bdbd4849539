"""The study's model and data, and one run on them: what `learned_signal.py` compares. K tasks.

Twenty tasks with one right answer each, in `DIR/study/<task>/{train,validation,test}.jsonl` (chat
format). A Qwen3 of about a million parameters learns them from scratch in minutes. A run is the
project's own (`AdaptRun`) in a plain PyTorch loop.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_run import train_one_step
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.falls import FallLearner, FallSettings
from adapt_axolotl.meta_step.learner import MetaLearner, MetaSettings
from adapt_axolotl.meta_step.learning import BegunStep, Learner
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.meta_step.schedule import fall_row_cost, fall_schedule, meta_schedule
from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.learned import LearnedMixture, MetaUpdate
from adapt_axolotl.mixture.objectives import objective
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape

VOCABULARY = 2048
BIN = 512
LEARNING_RATE = 3e-3
WARMUP = 0.05

Example = tuple[str, str, str]  # task, question, answer


class StudyRows:
    """Tokenised rows, indexable as `datasets.Dataset` is, and their pools."""

    def __init__(self, examples: list[Example], tokenizer: Tokenizer) -> None:
        names = tuple(sorted({task for task, _, _ in examples}))
        number = {name: k for k, name in enumerate(names)}
        self._ids: list[list[int]] = []
        self._labels: list[list[int]] = []
        tasks = []
        for task, question, answer in examples:
            asked = [1, *tokenizer.encode(question).ids, 2]
            said = [*tokenizer.encode(answer).ids, 3]
            if len(asked) + len(said) <= BIN:
                self._ids.append(asked + said)
                self._labels.append([-100] * len(asked) + said)
                tasks.append(number[task])
        supervised = np.array([sum(label != -100 for label in row) for row in self._labels])
        lengths = np.array([len(row) for row in self._ids])
        self.pools = TaskPools(names, np.array(tasks), supervised, lengths)

    def __getitem__(self, rows: list[int]) -> dict[str, list[list[int]]]:
        return {
            "input_ids": [self._ids[row] for row in rows],
            "labels": [self._labels[row] for row in rows],
        }

    def measuring(self) -> MeasuringRows:
        return MeasuringRows(
            self,
            self.pools,
            pad_token_id=0,
            micro_batch_tokens=2 * BIN,
            device=torch.device("cpu"),
        )


def read(folder: Path, split: str) -> list[Example]:
    """All examples of a split, task by task."""
    examples = []
    for task in sorted(place.name for place in folder.iterdir() if place.is_dir()):
        text = (folder / task / f"{split}.jsonl").read_text(encoding="utf-8")
        for line in text.splitlines():
            question, answer = (message["content"] for message in json.loads(line)["messages"])
            examples.append((task, question, answer))
    return examples


@cache
def tokenizer_of(folder: Path) -> Tokenizer:
    """A byte-level BPE of the first 3,000 training rows of each task."""
    seen: dict[str, int] = {}
    texts = []
    for task, question, answer in read(folder, "train"):
        seen[task] = seen.get(task, 0) + 1
        if seen[task] <= 3000:
            texts += [question, answer]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<user>", "<assistant>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


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
class Data:
    """Rows of one regime; test rows only where its tasks are those of the study."""

    train: StudyRows
    validation: StudyRows
    test: StudyRows


@dataclass(frozen=True)
class Learning:
    """How a learned arm learns; defaults are those of a recipe. With `oracle_rows` it measures so
    many validation rows of each task whenever a stretch begins, for nothing."""

    measure: str = "training_losses"
    rule: str = "evidence"
    objective: str = "worst_case"
    overhead: float = 0.04
    start_after: float = 0.06
    entropy_weight: float | None = None
    oracle_rows: int | None = None


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


def train(
    data: Data,
    *,
    seed: int,
    budget: int,
    bins: int,
    charged: bool = True,
    initial: np.ndarray | None = None,
    learning: Learning | None = None,
    schedule: Callable[[float], np.ndarray] | None = None,
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
        schedule: proportions at each share of the budget, in place of a learned mixture.
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
        initial=np.full(count, 1 / count) if initial is None else initial,
        max_steps=None,
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
    if schedule is not None:
        run.mixture = Scheduled(pools.tasks, schedule, lambda: run.progress)
    meta_steps = Watched()
    if learner is not None:
        meta_steps.watch(learner)
    run.start()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    seconds = 0.0
    step, more = 0, True
    while more:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(run.progress)
        begun = time.process_time()
        train_one_step(run, model, optimizer, rows, step)
        more = run.end_step(step, record=False)
        seconds += time.process_time() - begun
        step += 1
    losses, exact = tested(model, data.test)
    return Outcome(
        steps=step,
        used=run.ledger.used,
        meta_tokens=run.ledger.meta_tokens,
        final=run.mixture.proportions,
        average=run.average(),
        losses=losses,
        exact=exact,
        over_noise=meta_steps.over_noise,
        seconds=seconds,
        meta_seconds=meta_steps.seconds,
    )


class OracleLearner(CurveLearner):
    """Learns from far more rows than training sees: what the default would learn without noise."""

    def __init__(
        self,
        mixture: LearnedMixture,
        settings: CurveSettings,
        model: torch.nn.Module,
        validation: MeasuringRows,
        rows_per_task: int,
    ) -> None:
        super().__init__(mixture, settings, Ranks(), torch.device("cpu"))
        self._model = model
        self._validation = validation
        self._rows_per_task = rows_per_task
        self._measured = 0

    def take_rows(self, tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        """It has its own."""

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        # What is measured after this step is of the model that all these tokens made.
        self._trained = trained.astype(float)
        if progress >= self._settings.start_after and self._curves.ends(float(trained.sum())):
            rows = self._validation.sample(self._rows_per_task, seed=self._measured)
            self._measured += 1
            with torch.no_grad(), evaluation_mode(self._model):
                for batch in self._validation.batches(rows):
                    sums, tokens = row_losses(self._model, batch)
                    super().take_rows(batch.task_of_row.numpy(), sums.numpy(), tokens.numpy())
        super().end_step(trained, progress, np.ones_like(new))


@dataclass
class Watched:
    """Of the meta steps of a run: their processor time, that of keeping losses for them included,
    and what the last one found. What reading adds to a training backward is not in the time."""

    seconds: float = 0.0
    over_noise: float = math.nan

    def watch(self, learner: Learner) -> None:
        """From here on."""
        if isinstance(learner, CurveLearner):
            for name in ("due", "take_rows", "end_step"):
                setattr(learner, name, self._timed(getattr(learner, name)))
        begin = learner.begin

        def watched(step: int) -> BegunStep:
            begun = time.process_time()
            meta_step = begin(step)
            self.seconds += time.process_time() - begun
            finish = meta_step.finish

            def finished() -> MetaUpdate:
                update = finish()
                self.over_noise = update.over_noise
                return update

            meta_step.finish = finished  # type: ignore[method-assign]
            return meta_step

        learner.begin = watched  # type: ignore[method-assign]

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begun = time.process_time()
            result = call(*arguments)
            self.seconds += time.process_time() - begun
            return result

        return timed


class Scheduled:
    """A mixture that follows a schedule over the budget."""

    def __init__(
        self,
        tasks: tuple[str, ...],
        schedule: Callable[[float], np.ndarray],
        progress: Callable[[], float],
    ) -> None:
        self.tasks = tasks
        self._schedule = schedule
        self._progress = progress

    @property
    def proportions(self) -> np.ndarray:
        return self._schedule(self._progress())


def make_learner(
    learning: Learning,
    plan: RunPlan,
    model: torch.nn.Module,
    rows: MeasuringRows,
    validation: MeasuringRows,
    validation_pools: TaskPools,
) -> Learner:
    """As a recipe would make it."""
    count, estimate = len(plan.pools.tasks), plan.estimate()
    chosen = objective(learning.objective)
    steps = GradientSteps() if learning.rule == "steps" else None
    weight = learning.entropy_weight
    mixture = LearnedMixture(
        plan.pools.tasks,
        chosen,
        steps=steps,
        initial=plan.initial,
        **({} if weight is None else {"entropy_weight": weight}),
    )
    if learning.measure == "training_losses":
        curves = CurveSettings(learning.start_after)
        if learning.oracle_rows is not None:
            return OracleLearner(mixture, curves, model, validation, learning.oracle_rows)
        return CurveLearner(mixture, curves, Ranks(), torch.device("cpu"))
    if learning.measure == "loss_falls":
        falls = fall_schedule(
            steps=estimate.steps,
            row_cost=fall_row_cost(
                validation_pools,
                step_tokens=estimate.step_tokens,
                step_supervised=estimate.step_supervised if plan.charge_meta_tokens else None,
            ),
            overhead=learning.overhead,
            start_after=learning.start_after,
        )
        settings = FallSettings(falls.steps, falls.rows_per_task, plan.seed)
        return FallLearner(
            mixture, model, validation, settings, Ranks(), lambda: evaluation_mode(model)
        )
    products = meta_schedule(
        steps=estimate.steps,
        rows_per_step=estimate.rows_per_step,
        num_tasks=count,
        estimator=IN_BACKWARD,
        look_ahead=False,
        overhead=learning.overhead,
    )
    return MetaLearner(
        mixture,
        model,
        rows,
        validation,
        MetaSettings(
            update_every=products.update_every,
            start_after=learning.start_after,
            rows_per_task=products.rows_per_task,
            tasks_at_once=products.tasks_at_once,
            look_ahead=False,
            estimators=(IN_BACKWARD, PER_TASK),
            seed=plan.seed,
        ),
        Ranks(),
        lambda: LEARNING_RATE,
        lambda: evaluation_mode(model),
    )


def rate(progress: float) -> float:
    """Of the learning rate: warm-up, then a cosine."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARMUP) / (1 - WARMUP))))


@torch.no_grad()
def tested(model: Qwen3ForCausalLM, rows: StudyRows) -> tuple[np.ndarray, np.ndarray]:
    """(losses per supervised token, exact match) of each task, (K,). That every token is the
    likeliest after the right ones is the same as that greedy decoding gives the answer."""
    measuring, count = rows.measuring(), len(rows.pools.tasks)
    sums = np.zeros((4, count))
    model.eval()
    for batch in measuring.batches(np.arange(len(rows.pools.lengths))):
        logits = model(**batch.inputs).logits[:, :-1]
        learned = batch.learned()
        labels, row = batch.labels[:, 1:][learned], batch.row_of_token[:, 1:][learned]
        losses = torch.nn.functional.cross_entropy(logits[learned], labels, reduction="none")
        right = (logits[learned].argmax(-1) == labels).float()
        whole = torch.ones(len(batch.task_of_row)).index_reduce(0, row, right, "amin")
        tasks = batch.task_of_row.numpy()
        np.add.at(sums[0], tasks[row], losses.double().numpy())
        np.add.at(sums[1], tasks[row], 1)
        np.add.at(sums[2], tasks, whole.numpy())
        np.add.at(sums[3], tasks, 1)
    model.train()
    return sums[0] / sums[1], sums[2] / sums[3]
