"""End the training with the budget, and keep Trainer's own counters in step with it."""

from __future__ import annotations

from typing import Any, Protocol

from adapt_axolotl.integration.compat import (
    Accelerator,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from adapt_axolotl.run.state import AdaptRun


class StepsOfRun(Protocol):
    """What the callback asks of the trainer."""

    accelerator: Accelerator
    state: TrainerState
    callback_handler: Any

    def begin_step(self) -> None:
        """Before the first forward of an optimizer step."""


class BudgetCallback(TrainerCallback):
    """Tells the run when steps begin and end, and ends the training with the budget."""

    def __init__(self, trainer: StepsOfRun, run: AdaptRun) -> None:
        self._trainer = trainer
        self._run = run
        self._pass_ended = False
        self._last_step_kept = False

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
        before = self._passes()
        accelerator: Accelerator = self._trainer.accelerator
        skipped = accelerator.optimizer_step_was_skipped
        self._run.commit_step(state.global_step, skipped=skipped)
        self._pass_ended = self._passes() > before

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # What Trainer logs as an epoch is the spent share of the budget; what `epoch` strategies
        # wait for is a pass over as many tokens as the pools hold.
        state.epoch = self._run.ledger.progress
        saves = control.should_save or (self._pass_ended and args.save_strategy == "epoch")
        evaluates = control.should_evaluate or (self._pass_ended and args.eval_strategy == "epoch")
        more = self._run.end_step(
            state.global_step - 1, record=control.should_log, pause=saves or evaluates
        )
        if more:
            # Trainer stops at max_steps; the budget decides, so keep it just ahead: the step
            # already drawn, one more that may fit, and the estimate of the rest.
            state.max_steps = state.global_step + 1 + max(1, self._run.remaining_steps())
            if self._run.plan.max_steps is not None:
                state.max_steps = min(state.max_steps, self._run.plan.max_steps)
        else:
            state.max_steps = state.global_step
            self._last_step_kept = True
            control.should_training_stop = True
            control.should_log = True
            control.should_save = control.should_save or args.save_strategy != "no"
            control.should_evaluate = control.should_evaluate or args.eval_strategy != "no"
        if self._pass_ended:
            control.should_save = control.should_save or args.save_strategy == "epoch"
            control.should_evaluate = control.should_evaluate or args.eval_strategy == "epoch"
        self._show_progress()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # Trainer's own epoch ends with the run, whose last step was saved and evaluated already.
        if not self._last_step_kept:
            return
        if args.save_strategy == "epoch":
            control.should_save = False
        if args.eval_strategy == "epoch":
            control.should_evaluate = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._run.finish()

    def _passes(self) -> int:
        """Whole passes: over as many supervised tokens as all training pools hold."""
        return self._run.ledger.used // int(self._run.plan.pools.available_tokens.sum())

    def _show_progress(self) -> None:
        run = self._run
        shares = sorted(
            zip(run.mixture.proportions, run.plan.pools.tasks, strict=True),
            key=lambda pair: -pair[0],
        )
        top = ", ".join(f"{name} {share:.0%}" for share, name in shares[:3])
        text = f"{run.ledger.charged:,}/{run.ledger.budget:,} tokens | {top}"
        for callback in self._trainer.callback_handler.callbacks:
            bar = getattr(callback, "training_bar", None)
            if isinstance(callback, ProgressCallback) and bar is not None:
                bar.total = self._trainer.state.max_steps
                bar.set_postfix_str(text, refresh=False)
