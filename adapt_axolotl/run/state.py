"""The state of one training run beside the model: mixture, sampler, ledger, meta steps, records.

It knows nothing of Axolotl or of Trainer; a training loop calls it in this order:

    start -> [begin_step -> (micro-batches) -> commit_step -> end_step] ... -> finish
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapt_axolotl.meta_step.learning import BegunStep, Learner, RowLearner
from adapt_axolotl.meta_step.loss_learner import LossLearner
from adapt_axolotl.mixture.averages import TokenAverage
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.mixture import Mixture
from adapt_axolotl.mixture.nan_as_null import as_array, as_list
from adapt_axolotl.records.row_scores import RowRecords
from adapt_axolotl.records.write import FinalRecords, RunDirectory
from adapt_axolotl.run.history import history_line
from adapt_axolotl.run.learned_rows import LearnedRows
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.resumable import VERSION, check_resumable

LOG = logging.getLogger("axolotl.adapt.run")

# A loss scale that starts at 2^32 and halves is below any that float16 needs by then.
SKIPPED_IN_A_ROW = 64


class AdaptRun:
    """One run.

    Args:
        plan: what it draws.
        learner: of a learned mixture; None for a static one.
        measure: (K,) validation losses over so many rows of each task, at most.
        directory: where the run leaves its records; None on ranks that do not write.
        sum_over_ranks: adds an array over the processes of the run.
        now: the clock of `timing.json`, seconds.
    """

    def __init__(
        self,
        plan: RunPlan,
        learner: Learner | None,
        measure: Callable[[int], np.ndarray],
        directory: RunDirectory | None,
        sum_over_ranks: Callable[[np.ndarray], np.ndarray] = np.asarray,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.plan = plan
        self.learner = learner
        # Told the losses of the rows that are trained on.
        self._row_learner = learner if isinstance(learner, RowLearner) else None
        # Moved at each step, too often for a line of history each time.
        self._moved_by_losses = learner if isinstance(learner, LossLearner) else None
        self._rows = LearnedRows(plan.pools, sum_over_ranks) if plan.learn_rows else None
        self.meta_step: BegunStep | None = None
        self.ledger = plan.ledger()
        self.sampler = plan.sampler(
            self.ledger,
            lambda: self.mixture.proportions,
            None if self._rows is None else self._rows.scores,
        )
        self.mixture: Mixture = (
            plan.mixture(self.ledger, self.sampler) if learner is None else learner.mixture
        )
        self.first_losses: np.ndarray | None = None
        self.last_losses: np.ndarray | None = None
        self.resumed = False
        self._measure = measure
        self._directory = directory
        self._average = TokenAverage(plan.pools.tasks)
        self.seconds = {"training": 0.0, "meta_steps": 0.0, "measuring": 0.0}
        self._first_rows, self._last_rows = plan.measured_rows(plan.estimate())
        self._now = now
        self._clock = 0.0
        self._skipped_in_a_row = 0
        self._committed: list[int] = []  # rows of the last optimizer step

    @property
    def takes_losses(self) -> bool:
        """Whether it wants the losses of the rows that are trained on."""
        return self._row_learner is not None or self._rows is not None

    def take_losses(self, rows: Sequence[int], sums: np.ndarray, tokens: np.ndarray) -> None:
        """Of the rows of a micro-batch of this rank, as training has just seen them.

        Args:
            rows: (R,) row numbers.
            sums: (R,) of their token losses, nats.
            tokens: (R,) how many these are.
        """
        numbers = np.asarray(rows)
        if self._row_learner is not None:
            self._row_learner.take_rows(self.plan.pools.task_of_row[numbers], sums, tokens)
        if self._rows is not None:
            self._rows.take(numbers, sums, tokens)

    def row_records(self) -> RowRecords | None:
        """What is known of each training row; None where rows are not learned."""
        if self._rows is None:
            return None
        scores = self._rows.scores
        return RowRecords(scores.scores(), scores.expected(), scores.parts())

    @property
    def progress(self) -> float:
        """As `RunPlan.progress`. The learning rate follows it."""
        return self.plan.progress(self.ledger)

    def start(self) -> None:
        """Before the first optimizer step of a process."""
        if not self.resumed:
            self.first_losses = self._measured(self._first_rows)
            if isinstance(self.mixture, LearnedMixture):
                self.mixture.observe(self.first_losses)
        if self._directory is not None:
            self._directory.begin(self.ledger.steps if self.resumed else 0)
        self._clock = self._now()

    def begin_step(self, step: int) -> None:
        """Before the first forward of optimizer step `step`, from 0."""
        learner = self.learner
        if learner is None or self.meta_step is not None:
            return
        if not learner.due(step, self.progress):
            return
        if self.ledger.spend_on_meta_step(learner.tokens(step)):
            begun = self._now()
            self.meta_step = learner.begin(step)
            self.seconds["meta_steps"] += self._now() - begun

    def commit_step(self, step: int, *, skipped: bool = False) -> None:
        """After the optimizer: the block's tokens have changed the weights, unless it skipped the
        step because the gradient was not finite (fp16). Then they return to the budget; the rows
        are not drawn again.

        Raises:
            ValueError: it skips all steps, and the run would never end.
        """
        before = self.ledger.used
        block = self.sampler.block(step)
        assert block is not None
        rows = self._committed = self.sampler.commit(step).rows()
        if skipped:
            self.ledger.skip(rows)
            self._skipped_in_a_row += 1
        else:
            self.ledger.commit(rows)
            self._skipped_in_a_row = 0
        if self._skipped_in_a_row >= SKIPPED_IN_A_ROW:
            raise ValueError(
                f"fp16: the optimizer has skipped {SKIPPED_IN_A_ROW} steps in a row, the last one "
                f"step {step + 1}, because gradients were not finite; set bf16: true instead of "
                "fp16, or a lower learning_rate, and go on from a checkpoint before these steps"
            )
        self._average.add(self.mixture.proportions, self.ledger.used - before)
        if self._row_learner is not None:
            new = self.ledger.seen_of_tasks <= self.plan.pools.rows_of_task
            self._row_learner.end_step(self.ledger.tokens_of_tasks, self.progress, new)

    def end_step(self, step: int, *, record: bool, pause: bool = False) -> bool:
        """After the optimizer step: learn, keep records, look ahead.

        Args:
            step: its number, from 0.
            record: a run without meta steps writes a line of history now; one with them writes
                one at each.
            pause: a checkpoint or an evaluation follows, so a meta step does not read on: what it
                has read so far is no part of a checkpoint.

        Returns:
            Whether there is another step within the budget.
        """
        # Drawn before the mixture moves, whatever the loader fetched: one step of look-ahead.
        more = self.sampler.block(step + 1) is not None
        more = more and (self.plan.max_steps is None or step + 1 < self.plan.max_steps)
        if self._rows is not None:
            self._rows.end_step(self._committed)
        if self.meta_step is not None:
            if pause or not more or not self.meta_step.goes_on(step):
                self._end_meta_step(self.meta_step, step, record)
        elif record and self.learner is None:
            self._write_history(step)
        return more

    def _end_meta_step(self, meta_step: BegunStep, step: int, record: bool) -> None:
        """Learn, and write it down."""
        assert self.learner is not None
        update = meta_step.finish()
        self.meta_step = None
        if record or self._moved_by_losses is None:
            self._write_history(step, update)

    def finish(self) -> None:
        """After the last optimizer step: the last losses and the records."""
        self._read_clock()
        self.last_losses = self._measured(self._last_rows)
        if self._directory is not None:
            if self.sampler.rows_ended:
                LOG.warning(
                    f"the rows ended before the budget: every task has reached adapt.max_repeats: "
                    f"{self.plan.max_repeats:g}, so {self.ledger.used:,} of "
                    f"{self.ledger.budget:,} supervised tokens were trained on; raise max_repeats, "
                    "or lower adapt.token_budget"
                )
            self._tell_of_bounds()
            self._directory.end(self._final_records())

    def _tell_of_bounds(self) -> None:
        learned = self.mixture if isinstance(self.mixture, LearnedMixture) else None
        bounds = None if learned is None else learned.losses.bounds
        if bounds is None or self.last_losses is None:
            return
        for task in np.flatnonzero(bounds.over(self.last_losses) > 0):
            LOG.warning(
                f"task {self.plan.pools.tasks[task]!r}: ends with a validation loss of "
                f"{self.last_losses[task]:.4g}, above its bound of {bounds.bounds[task]:g} "
                "(adapt.learned.bounds); give it a larger initial share (adapt.weights with "
                "adapt.learned.initial: weights), raise adapt.token_budget, or raise the bound"
            )

    def _measured(self, rows_per_task: int) -> np.ndarray:
        begun = self._now()
        losses = self._measure(rows_per_task)
        self.seconds["measuring"] += self._now() - begun
        return losses

    def _final_records(self) -> FinalRecords:
        names = self.plan.pools.tasks
        ledger = self.ledger.report() | {"tokens_spent_before": self.plan.tokens_spent_before}
        for k, name in enumerate(names):
            ledger["tasks"][name]["first_validation_loss"] = _finite(self.first_losses, k)
            ledger["tasks"][name]["last_validation_loss"] = _finite(self.last_losses, k)
        mixture = {
            "initial": dict(zip(names, self.plan.initial.tolist(), strict=True)),
            "final": dict(zip(names, self.mixture.proportions.tolist(), strict=True)),
            "average": dict(zip(names, self.average().tolist(), strict=True)),
        }
        return FinalRecords(ledger, mixture, dict(self.seconds), self.row_records())

    def _read_clock(self) -> None:
        read = self._now()
        self.seconds["training"] += read - self._clock
        self._clock = read

    def remaining_steps(self) -> int:
        """About how many optimizer steps are left beyond those already drawn."""
        if self.sampler.finished or not self.ledger.steps:
            return 0
        ledger = self.ledger
        drawn = ledger.used + ledger.skipped_tokens
        free = min(ledger.free, self.plan.drawable - drawn)
        return math.ceil(max(0.0, free) / max(1.0, drawn / ledger.steps))

    def average(self) -> np.ndarray:
        """(K,) proportions in force, averaged by the tokens trained under them."""
        return self._average.average()

    def _write_history(self, step: int, update: MetaUpdate | None = None) -> None:
        if self._directory is not None:
            self._directory.append_history(
                history_line(
                    step + 1,
                    self.ledger,
                    self.mixture.proportions,
                    update,
                    None if self.learner is None else self.learner.measures,
                    None if self._moved_by_losses is None else self._moved_by_losses.losses,
                    None if self.learner is None else self.learner.left_out,
                )
            )

    def _fingerprint(self) -> dict[str, Any]:
        learned = {} if self.learner is None else self.learner.fingerprint()
        return {**self.plan.fingerprint(), **learned}

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; with the model's own checkpoint it is all that a resume needs."""
        assert self.first_losses is not None
        if self.meta_step is not None:
            LOG.warning(
                "this checkpoint was asked for while a meta step was reading, which a resumed run "
                "leaves out, so its mixture will be slightly another; checkpoints that save_steps "
                "or saves_per_epoch ask for do not have this"
            )
        self._read_clock()
        return {
            "version": VERSION,
            "fingerprint": self._fingerprint(),
            "sampler": self.sampler.state_dict(),
            "ledger": self.ledger.state_dict(),
            "average": self._average.state_dict(),
            "first_losses": as_list(self.first_losses),
            "meta": None if self.learner is None else self.learner.state_dict(),
            "seconds": dict(self.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: the checkpoint was made with other data, budget or batch layout, or by a
                version of this package whose checkpoints are another kind.
        """
        check_resumable(state, self._fingerprint(), learned=self.learner is not None)
        self.sampler.load_state_dict(state["sampler"])
        self.ledger.load_state_dict(state["ledger"])
        self._average.load_state_dict(state["average"])
        self.first_losses = as_array(state["first_losses"])
        if self.learner is not None:
            self.learner.load_state_dict(state["meta"])
        self.seconds |= state["seconds"]
        self.resumed = True


def _finite(losses: np.ndarray | None, task: int) -> float | None:
    return float(losses[task]) if losses is not None and np.isfinite(losses[task]) else None
