"""AdaptTrainer: Axolotl's trainer, drawing by a mixture, ending with a token budget.

The one subclass of AxolotlTrainer. It calls `AdaptRun` when Trainer draws, trains, saves and logs;
what happens then is decided there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from adapt_axolotl.budget.lr_schedule import follow_budget
from adapt_axolotl.integration.batch_layout import check_tokens, row_of_token
from adapt_axolotl.integration.callback import BudgetCallback
from adapt_axolotl.integration.compat import AxolotlTrainer, EarlyStoppingCallback
from adapt_axolotl.integration.eval_loss import without_logits
from adapt_axolotl.integration.loss_weights import LossWeights
from adapt_axolotl.integration.mistakes import show_mistakes_alone
from adapt_axolotl.integration.part_of_micro_batch import part_of_micro_batch
from adapt_axolotl.integration.row_losses import BY_LOGS, BY_MEASURE, BY_ROWS, RowLosses
from adapt_axolotl.meta_step.learning import BegunStep
from adapt_axolotl.meta_step.split_reader import Part
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.by_losses import LossMixture
from adapt_axolotl.run.checkpoint import STATE_FILE, read_checkpoint
from adapt_axolotl.run.evaluation import Evaluation
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.run.task_losses import TaskLosses
from adapt_axolotl.sampling.batches import MicroBatch, rows_of
from adapt_common.files import write_atomically


class AdaptTrainer(AxolotlTrainer):
    """See the module docstring. `attach` must be called before `train`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        show_mistakes_alone()  # where the plugin, which does it too, is not loaded
        super().__init__(*args, **kwargs)
        self._run: AdaptRun | None = None
        self._evaluation: Evaluation | None = None
        self._weighs_tokens = False
        self._micro_batch = 0
        self._loss_gradient = 1.0
        self._token_weight = 0.0
        self._weights = LossWeights(self)
        self._rows: TaskBatch | None = None  # of the micro-batch that trains
        self._part: Part | None = None  # of it, where it is split by task
        self._row_numbers: list[int] = []
        self._row_losses: RowLosses | None = None
        self._task_losses: TaskLosses | None = None

    def attach(
        self,
        run: AdaptRun,
        evaluation: Evaluation,
        *,
        log_task_losses: bool = False,
        weighs_tokens: bool = False,
    ) -> None:
        """Give the trainer the run that it serves, how its evaluations are summed up, whether to
        log losses by task where nothing else asks for those of the rows, and whether the fused loss
        weighs tokens, which that of an evaluation does not."""
        self._run = run
        self._evaluation = evaluation
        self._weighs_tokens = weighs_tokens
        if run.takes_losses or log_task_losses:
            asked_by = BY_LOGS
            if run.plan.learn_rows:
                asked_by = BY_ROWS
            elif isinstance(run.mixture, LossMixture):
                asked_by = (f"adapt.mixture: {run.mixture.rule.name}", "choose another mixture")
            elif run.takes_losses:
                asked_by = BY_MEASURE
            self._row_losses = RowLosses(self.model, asked_by)
            self._task_losses = TaskLosses(run.plan.pools.tasks, self.sum_over_ranks)
        self.add_callback(BudgetCallback(self, run))

    @property
    def run(self) -> AdaptRun:
        if self._run is None:
            raise ValueError(
                "trainer_cls: adapt_axolotl.trainer.AdaptTrainer is set but the plugin is not "
                "loaded, so this run would train without ADAPT; add adapt_axolotl.AdaptPlugin "
                "under plugins:, and install the package (pip install adapt-axolotl) if the log "
                "says that it failed to load"
            )
        return self._run

    # Drawing

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        return self.run.sampler

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        # Starting a loader draws a seed. From a stream of its own, dropout goes on the same
        # wherever a run is resumed and wherever Trainer thinks that an epoch ends.
        inner = getattr(loader, "base_dataloader", loader)  # accelerate wraps it
        inner.generator = torch.Generator()
        return loader

    # Training

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        run = self.run
        if resume_from_checkpoint:
            if not isinstance(resume_from_checkpoint, str | os.PathLike):
                raise ValueError(
                    "resume_from_checkpoint: give the folder of a checkpoint, or set "
                    "auto_resume_from_checkpoints: true to take the last one"
                )
            run.load_state_dict(read_checkpoint(Path(resume_from_checkpoint)))
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def begin_step(self) -> None:
        """Before the first micro-batch of an optimizer step."""
        self._micro_batch = 0
        self.run.begin_step(self.state.global_step)

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> Tensor:
        run = self.run
        micro_batch = self._next_micro_batch()
        rows = rows_of(micro_batch)
        pools = run.plan.pools
        check_tokens(pools, rows, inputs["labels"])
        reading = run.meta_step is not None and run.meta_step.reading
        if self._row_losses is None and not reading:
            return super().training_step(model, inputs, num_items_in_batch)
        labels = inputs["labels"].to(self.args.device)
        left = getattr(self.processing_class, "padding_side", "right") == "left"
        places = row_of_token(pools, micro_batch, labels, padded_left=left)
        tasks = torch.as_tensor(pools.task_of_row[rows], device=labels.device).long()
        self._rows, self._row_numbers = TaskBatch({}, labels, places, tasks), rows
        if run.meta_step is None or not reading:
            return super().training_step(model, inputs, num_items_in_batch)
        self._weights.settle(inputs, num_items_in_batch)
        if run.meta_step.splits:
            return self._train_in_parts(run.meta_step, model, inputs, num_items_in_batch)
        with run.meta_step.training_backward(
            labels, places, tasks, lambda: self._loss_gradient * self._token_weight
        ):
            return super().training_step(model, inputs, num_items_in_batch)

    def _train_in_parts(
        self, meta_step: BegunStep, model: nn.Module, inputs: Any, num_items_in_batch: Any
    ) -> Tensor:
        """Train on the rows of one task after the other; the gradient and the loss are those of the
        micro-batch."""
        whole, numbers = self._rows, self._row_numbers
        assert whole is not None
        given = self._prepare_inputs(inputs)
        taken = {name: value for name, value in given.items() if name != "labels"}
        parts = meta_step.parts(replace(whole, inputs=taken))
        if parts is None:
            return super().training_step(model, inputs, num_items_in_batch)
        loss = torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts, start=1):
            self._part, self._rows = part, part.batch
            self._row_numbers = [numbers[row] for row in part.rows]
            some = {**part.batch.inputs, "labels": part.batch.labels}
            with (
                part_of_micro_batch(self.accelerator, model, last=number == len(parts)),
                meta_step.part_backward(part, lambda: self._loss_gradient * self._token_weight),
            ):
                loss += super().training_step(model, some, num_items_in_batch)
        self._part = None
        if self.args.include_tkps:
            self._uncount_idle(parts)
        return loss

    def _uncount_idle(self, parts: Sequence[Part]) -> None:
        """Axolotl's tokens per second are of what trained, without the parts that keep a process
        in step with the others and are weighted 0."""
        labels = [part.batch.labels for part in parts if not part.rows]
        trained = sum(int((one != -100).sum()) for one in labels)
        slots = sum(one.numel() for one in labels)
        idle = self.sum_over_ranks(np.array([trained, slots]))
        for name, count in zip(("trainable", "total"), idle, strict=True):
            self.state.tokens[name] = self.state.tokens[name] - int(count)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if not model.training or self._run is None:
            return super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        wanted = return_outputs or self._row_losses is not None
        if self._row_losses is not None:
            assert self._rows is not None
            self._row_losses.before(self._rows)
        result = super().compute_loss(
            model, inputs, return_outputs=wanted, num_items_in_batch=num_items_in_batch
        )
        loss, outputs = result if wanted else (result, None)
        if self._row_losses is not None:
            self._take_row_losses(self._row_losses, outputs, inputs)
        meta_step = self._run.meta_step
        if meta_step is not None and meta_step.reading:
            self._token_weight = self._weights.of_a_token(
                inputs["labels"], self._part, num_items_in_batch
            )
            if self._part is not None:
                loss = loss * self._weights.of_a_part(self._part, num_items_in_batch)
            loss.register_hook(self._keep_loss_gradient)
        return (loss, outputs) if return_outputs else loss

    def _take_row_losses(self, losses: RowLosses, outputs: Any, inputs: Any) -> None:
        assert self._rows is not None
        sums, tokens = (one.cpu().numpy() for one in losses.take(outputs, inputs))
        if self._task_losses is not None:
            self._task_losses.add(self._rows.task_of_row.cpu().numpy(), sums, tokens)
        self.run.take_losses(self._row_numbers, sums, tokens)

    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        """All processes call it at once."""
        ranks = Ranks(self.args.process_index, self.args.world_size)
        summed = ranks.sum(torch.as_tensor(values, device=self.args.device))
        return np.asarray(summed.cpu().numpy())

    def _keep_loss_gradient(self, gradient: Tensor) -> None:
        # What accumulation and loss scaling multiply the loss by before it is differentiated.
        self._loss_gradient = float(gradient)

    def _next_micro_batch(self) -> MicroBatch:
        """This rank's rows of the micro-batch that is about to train."""
        block = self.run.sampler.block(self.state.global_step)
        assert block is not None, "Trainer asked for a batch beyond the budget"
        place = self._micro_batch * self.args.world_size + self.args.process_index
        self._micro_batch += 1
        return block.micro_batches[place]

    # Evaluation

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Trainer evaluates each task by itself; the metrics over all of them come last, and early
        stopping, which would count each task as an evaluation of its own, sees all at once."""
        datasets = self.eval_dataset if eval_dataset is None else eval_dataset
        if not isinstance(datasets, dict) or self._evaluation is None:
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        callbacks = self.callback_handler.callbacks
        stopping = [one for one in callbacks if isinstance(one, EarlyStoppingCallback)]
        self.callback_handler.callbacks = [one for one in callbacks if one not in stopping]
        try:
            metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        finally:
            self.callback_handler.callbacks = callbacks
        summary = self._evaluation.metrics(metrics, self.run.first_losses)
        self.log(summary)
        metrics |= summary
        for callback in stopping:
            callback.on_evaluate(self.args, self.state, self.control, metrics=metrics)
        return metrics

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> Any:
        given_by_model = self.label_smoother is None and self.compute_loss_func is None
        if prediction_loss_only and given_by_model and not self._weighs_tokens:
            inputs = without_logits(self.model, inputs)
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    # Schedule

    lr_scheduler: Any

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        fresh = self.lr_scheduler is None
        super().create_scheduler(num_training_steps, optimizer)
        if fresh:
            self.lr_scheduler = follow_budget(
                self.lr_scheduler,
                optimizer or self.optimizer,
                num_training_steps,
                lambda: self.run.progress,
            )
        return self.lr_scheduler

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any, **kwargs: Any) -> Any:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        if self.args.should_save:
            # Before Trainer's own files: trainer_state.json, its last, then marks a whole one.
            state = {**self.run.state_dict(), "ranks": self.args.world_size}
            write_atomically(folder / STATE_FILE, json.dumps(state))
        return super()._save_checkpoint(model, trial, **kwargs)

    # Logs

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self._run is not None and "loss" in logs:
            ledger = self._run.ledger
            logs["adapt/budget_used"] = ledger.progress
            logs["adapt/tokens"] = ledger.used
            logs["adapt/meta_tokens"] = ledger.meta_tokens
            for name, share in zip(ledger.pools.tasks, self._run.mixture.proportions, strict=True):
                logs[f"adapt/proportion/{name}"] = float(share)
            if self._task_losses is not None:
                means = self._task_losses.means()
                logs |= {f"adapt/loss/{name}": loss for name, loss in means.items()}
        super().log(logs, *args, **kwargs)
