"""AdaptTrainer: Axolotl's trainer, drawing by a mixture, ending with a token budget.

The one subclass of AxolotlTrainer. It translates between Trainer's moments and `AdaptRun`; what
happens at those moments is decided there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from axolotl.core.trainers.base import AxolotlTrainer
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from adapt_axolotl.checkpoint import STATE_FILE, read_checkpoint
from adapt_axolotl.record import write_atomically
from adapt_axolotl.run import AdaptRun
from adapt_axolotl.sampling import MicroBatch, rows_of
from adapt_axolotl.schedule import follow_budget


class AdaptTrainer(AxolotlTrainer):
    """See the module docstring. `attach` must be called before `train`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run: AdaptRun | None = None
        self._micro_batch = 0
        self._loss_gradient = 1.0
        self._token_weight = 0.0

    def attach(self, run: AdaptRun) -> None:
        """Give the trainer the run that it serves."""
        self._run = run
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
        self._check_tokens(rows, inputs["labels"])
        if run.meta is None or not run.meta.listening:
            return super().training_step(model, inputs, num_items_in_batch)
        labels = inputs["labels"].to(self.args.device)
        with run.meta.training_backward(
            labels,
            self._row_of_token(micro_batch, labels),
            torch.as_tensor(run.plan.pools.task_of_row[rows], device=labels.device).long(),
            lambda: self._loss_gradient * self._token_weight,
        ):
            return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        result = super().compute_loss(
            model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
        )
        run = self._run
        if model.training and run is not None and run.meta is not None and run.meta.listening:
            loss = result[0] if return_outputs else result
            self._token_weight = self._weight_of_a_token(inputs["labels"], num_items_in_batch)
            loss.register_hook(self._keep_loss_gradient)
        return result

    def _keep_loss_gradient(self, gradient: Tensor) -> None:
        # What accumulation and loss scaling multiply the loss by before it is differentiated.
        self._loss_gradient = float(gradient)

    def _weight_of_a_token(self, labels: Tensor, num_items_in_batch: Any) -> float:
        """d(compute_loss) / d(loss of one token), as Trainer and the model normalise it."""
        if num_items_in_batch is None or not self.model_accepts_loss_kwargs:
            return 1.0 / max(1, int((labels[..., 1:] != -100).sum()))
        scale = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return scale / float(num_items_in_batch)

    def _check_tokens(self, rows: list[int], labels: Tensor) -> None:
        """The batch is the one that the ledger booked: exact accounts, not assumed ones."""
        booked = int(self.run.plan.pools.supervised_tokens[rows].sum())
        found = int((labels != -100).sum())
        if booked != found:
            raise ValueError(
                f"a batch holds {found} supervised tokens where the budget booked {booked}; the "
                "collator or another plugin changes the labels: turn it off, or remove the adapt "
                "plugin"
            )

    def _next_micro_batch(self) -> MicroBatch:
        """This rank's rows of the micro-batch that is about to train."""
        block = self.run.sampler.plan(self.state.global_step)
        assert block is not None, "Trainer asked for a batch beyond the budget"
        place = self._micro_batch * self.args.world_size + self.args.process_index
        self._micro_batch += 1
        return block.micro_batches[place]

    def _row_of_token(self, micro_batch: MicroBatch, labels: Tensor) -> Tensor:
        """(B, T) the row, counted within the micro-batch, that each token belongs to."""
        lengths = self.run.plan.pools.lengths
        left = getattr(self.processing_class, "padding_side", "right") == "left"
        row_of_token = torch.full_like(labels, -1)
        number = 0
        for line, entry in enumerate(micro_batch):
            if not isinstance(entry, list):  # padded on either side: the whole line is the row's
                row_of_token[line] = line
                continue
            start = labels.shape[1] - int(lengths[entry].sum()) if left else 0
            for row in entry:
                row_of_token[line, start : start + int(lengths[row])] = number
                start += int(lengths[row])
                number += 1
        self._check_places(rows_of(micro_batch), row_of_token, labels)
        return row_of_token

    def _check_places(self, rows: list[int], row_of_token: Tensor, labels: Tensor) -> None:
        """Rows lie where they are looked for; elsewhere, scores would be those of other tasks."""
        supervised = labels != -100
        places = row_of_token[supervised & (row_of_token >= 0)]
        found = torch.bincount(places, minlength=len(rows)).tolist()
        if found != self.run.plan.pools.supervised_tokens[rows].tolist():
            raise ValueError(
                "a batch does not hold its rows where they were drawn to; the collator or another "
                "plugin moves them: turn it off, or set adapt.learned.estimator: finite_difference"
            )

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
            for name, share in zip(ledger.pools.tasks, self._run.proportions, strict=True):
                logs[f"adapt/proportion/{name}"] = float(share)
        super().log(logs, *args, **kwargs)


class BudgetCallback(TrainerCallback):
    """Tells the run when steps begin and end, and ends the training with the budget."""

    def __init__(self, trainer: AdaptTrainer, run: AdaptRun) -> None:
        self._trainer = trainer
        self._run = run

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._run.start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._trainer.begin_step()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # Before the scheduler steps, which reads the ledger's progress.
        self._run.commit_step(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # A run has no epochs; what Trainer logs as one is the spent share of the budget.
        state.epoch = self._run.ledger.progress
        more = self._run.end_step(state.global_step - 1, record=control.should_log)
        if more:
            # Trainer stops at max_steps; the budget decides, so keep it just ahead: the step
            # already drawn, one more that may fit, and the estimate of the rest.
            state.max_steps = state.global_step + 1 + max(1, self._run.remaining_steps())
            if self._run.plan.max_steps is not None:
                state.max_steps = min(state.max_steps, self._run.plan.max_steps)
        else:
            state.max_steps = state.global_step
            control.should_training_stop = True
            control.should_log = True
            control.should_save = control.should_save or args.save_strategy != "no"
            control.should_evaluate = control.should_evaluate or args.eval_strategy != "no"
        self._show_progress()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._run.finish()

    def _show_progress(self) -> None:
        run = self._run
        shares = sorted(
            zip(run.proportions, run.plan.pools.tasks, strict=True), key=lambda pair: -pair[0]
        )
        top = ", ".join(f"{name} {share:.0%}" for share, name in shares[:3])
        text = f"{run.ledger.charged:,}/{run.ledger.budget:,} tokens | {top}"
        for callback in self._trainer.callback_handler.callbacks:
            bar = getattr(callback, "training_bar", None)
            if isinstance(callback, ProgressCallback) and bar is not None:
                bar.total = self._trainer.state.max_steps
                bar.set_postfix_str(text, refresh=False)
