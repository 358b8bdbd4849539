"""The loops that the cost benchmarks time: a training step, a meta step by every estimator, and the
two loops that a user would otherwise have. The core only, no Axolotl. K tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.finite_difference import finite_difference_scores
from adapt_axolotl.metagradient.gradient_products import GradientProducts
from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.metagradient.losses import row_losses, weighted_loss
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.rows_apart import rows_apart
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.metagradient.task_batch import TaskBatch

# Processor time is what a CPU run is measured in; threads that wait for each other spend it too.
torch.set_num_threads(1)


@dataclass(frozen=True)
class Shape:
    """A Qwen3 and the rows of a training step.

    Attributes:
        rows: of a step, and of each side of a meta step.
        tokens: of a row, all but the first supervised.
        micro_batch: rows that go through the model at once.
        lora_rank: of the adapters of all linear layers but the head.
        tied: the head is the embeddings.
    """

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    vocabulary: int
    rows: int
    tokens: int
    micro_batch: int
    lora_rank: int = 8
    tied: bool = True


SMALL = Shape("Qwen3, 4 layers of 192", 192, 576, 4, 6, 3, 32, 4096, 256, 16, 32)
# Parameters and not activations make its peak; adapters of many megabytes, so that they show in it.
WIDE = Shape("Qwen3, 4 layers of 512", 512, 1536, 4, 8, 4, 64, 16_384, 256, 4, 32, lora_rank=128)
QWEN3_06B = Shape("Qwen3-0.6B from config", 1024, 3072, 28, 16, 8, 128, 151_936, 40, 2048, 2)


def make_model(shape: Shape, *, lora: bool, dtype: torch.dtype, device: str) -> nn.Module:
    """Random weights."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
        use_cache=False,
        attn_implementation="sdpa",
    )
    with torch.device(device):
        model: nn.Module = Qwen3ForCausalLM(config).to(dtype)
    if lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=shape.lora_rank, target_modules="all-linear"))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # Not 0 as at the start, where half of the scores are 0.
                    parameter.normal_(std=0.02)
    return model.train()


def make_batches(shape: Shape, num_tasks: int, seed: int, device: str) -> list[TaskBatch]:
    """Random rows, as many of every task, in random order."""
    rng = np.random.default_rng(seed)
    tasks = torch.as_tensor(rng.permutation(np.arange(shape.rows) % num_tasks))
    ids = torch.as_tensor(rng.integers(3, shape.vocabulary, (shape.rows, shape.tokens)))
    batches = []
    for start in range(0, shape.rows, shape.micro_batch):
        chosen = ids[start : start + shape.micro_batch]
        labels = chosen.clone()
        labels[:, 0] = -100
        numbers = torch.arange(len(chosen))[:, None].expand_as(chosen)
        inputs = {"input_ids": chosen, "attention_mask": torch.ones_like(chosen)}
        batch = TaskBatch(inputs, labels, numbers, tasks[start : start + shape.micro_batch])
        batches.append(batch.to(torch.device(device)))
    return batches


class Bench:
    """One model with its optimizer and rows."""

    def __init__(
        self, shape: Shape, num_tasks: int, *, lora: bool, dtype: torch.dtype, device: str
    ) -> None:
        self.device = device
        self.num_tasks = num_tasks
        self.model = make_model(shape, lora=lora, dtype=dtype, device=device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-5)
        self.training = make_batches(shape, num_tasks, 1, device)
        self.validation = make_batches(shape, num_tasks, 2, device)
        self.weights = torch.full((num_tasks,), 1 / num_tasks, device=device)
        self.epsilon = 1e-4 if dtype == torch.float32 else 1e-3

    @property
    def parameter_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.parameters)

    def backward(self, batch: TaskBatch) -> None:
        """Of the mean loss over a step of such batches."""
        sums, tokens = row_losses(self.model, batch, whole_logits=True)  # as Trainer does
        (sums.sum() / tokens.sum() / len(self.training)).backward()

    def step(self, reader: InBackward | None = None) -> list[Tensor]:
        """A training step; gives what `backwards` gives."""
        products_of_rows = self.backwards(reader)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return products_of_rows

    def backwards(self, reader: InBackward | None) -> list[Tensor]:
        """Of all micro-batches; with a reader (R,) <v, gradient> of the rows of each."""
        products_of_rows = []
        for batch in self.training:
            if reader is not None:
                reader.begin(batch.row_of_token, batch.labels)
            self.backward(batch)
            if reader is not None:
                weight = 1.0 / float(batch.tokens_of_rows().sum()) / len(self.training)
                products_of_rows.append(reader.collect(weight, len(batch.task_of_row)))
        return products_of_rows

    def v(self) -> list[Tensor]:
        with evaluation_mode(self.model):
            found = direction(self.model, self.parameters, self.validation, self.weights)
        return found.v

    def scores(self, estimator: str, v: list[Tensor]) -> Tensor:
        """(K,) by an estimator that uses rows of its own."""
        common = (self.model, self.parameters, self.training, v, self.num_tasks)
        with evaluation_mode(self.model):
            if estimator == "per_task":
                return per_task_scores(*common).inner_products
            return finite_difference_scores(*common, epsilon=self.epsilon).inner_products

    def read_scores(self, v: list[Tensor]) -> Tensor:
        """(K,) read off the backward of the training rows; theta stays."""
        reader = InBackward(self.model, self.parameters, v)
        with evaluation_mode(self.model):
            products = torch.cat(self.backwards(reader))
        reader.remove()
        self.optimizer.zero_grad(set_to_none=True)
        return self._scores_of(products)

    # The loops. Each trains one step too.

    def in_backward(self) -> Tensor:
        """v, then a training step that is read."""
        reader = InBackward(self.model, self.parameters, self.v())
        products = torch.cat(self.step(reader))
        reader.remove()
        return self._scores_of(products)

    def _scores_of(self, products: Tensor) -> Tensor:
        tokens = torch.cat([batch.tokens_of_rows() for batch in self.training])
        tasks = torch.cat([batch.task_of_row for batch in self.training])
        return scores_from_rows(products, tokens, tasks, self.num_tasks).inner_products

    def split_batches(self) -> Tensor:
        """v, then a training step whose micro-batches are split by task."""
        scores = self.split_scores(self.v())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return scores

    def split_scores(self, v: list[Tensor]) -> Tensor:
        """(K,) of the training rows, whose gradients are left in `.grad`."""
        found = GradientProducts(self.parameters, v)
        products, tokens, tasks = [], [], []
        for batch in self.training:
            weight = 1.0 / float(batch.tokens_of_rows().sum()) / len(self.training)
            for task in batch.task_of_row.unique().tolist():
                part = rows_apart(batch, batch.task_of_row == task)
                found.begin()
                sums, counts = row_losses(self.model, part, whole_logits=True)  # as Trainer does
                (sums.sum() * weight).backward()
                products.append(found.collect() / weight)
                tokens.append(counts.sum())
                tasks.append(task)
        found.remove()
        where = torch.tensor(tasks, device=self.device)
        scores = scores_from_rows(torch.stack(products), torch.stack(tokens), where, self.num_tasks)
        return scores.inner_products

    def finite_difference(self) -> Tensor:
        scores = self.scores("finite_difference", self.v())
        self.step()
        return scores

    def per_task(self) -> Tensor:
        scores = self.scores("per_task", self.v())
        self.step()
        return scores

    def doge(self) -> Tensor:
        """DoGE (arXiv 2310.15393, algorithm 1) with a validation target: a gradient of every task
        from its own rows, all kept, then W_k = <g_k, g_validation>, then theta moves along
        sum_k alpha_k g_k."""
        size = sum(p.numel() for p in self.parameters)
        kept = self.parameters[0].new_empty(self.num_tasks, size)
        for task in range(self.num_tasks):
            kept[task] = self._task_gradient(task)
        scores = kept @ self._flat(self.v())
        combined = self.weights.to(kept.dtype) @ kept
        start = 0
        for parameter in self.parameters:
            parameter.grad = combined[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return scores

    def doge_port(self) -> Tensor:
        """The same scores beside a trainer's own step: a backward a task, none kept."""
        v = self._flat(self.v())
        scores = torch.stack([self._task_gradient(task) @ v for task in range(self.num_tasks)])
        self.step()
        return scores

    def _task_gradient(self, task: int) -> Tensor:
        """Flat gradient of a task's mean loss, from its own rows."""
        total = torch.zeros(0)
        for batch in self._rows_of(task):
            weights = torch.ones_like(batch.task_of_row) / batch.tokens_of_rows().sum()
            loss, _ = weighted_loss(self.model, batch, weights)
            gradients = torch.autograd.grad(loss, self.parameters)
            flat = self._flat(gradients)
            total = total + flat if len(total) else flat
        return total

    def _rows_of(self, task: int) -> list[TaskBatch]:
        """The task's rows, gathered into as few micro-batches as they fit."""
        parts: list[tuple[Tensor, Tensor]] = []
        for batch in self.training:
            mine = batch.task_of_row == task
            if mine.any():
                parts.append((batch.inputs["input_ids"][mine], batch.labels[mine]))
        ids, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        size = len(self.training[0].task_of_row)
        batches = []
        for start in range(0, len(ids), size):
            some = ids[start : start + size]
            numbers = torch.arange(len(some), device=some.device)[:, None].expand_as(some)
            inputs = {"input_ids": some, "attention_mask": torch.ones_like(some)}
            own = torch.full((len(some),), task, device=some.device)
            batches.append(TaskBatch(inputs, labels[start : start + size], numbers, own))
        return batches

    @staticmethod
    def _flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def seconds(self, work: Callable[[], object]) -> float:
        """How long a piece of work takes: on a CPU the processor's time, which does not count what
        else the machine does."""
        clock = time.perf_counter if self.device == "cuda" else time.process_time
        self._wait()
        started = clock()
        work()
        self._wait()
        return clock() - started

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


LOOPS = ("in_backward", "finite_difference", "per_task", "doge", "doge_port")
