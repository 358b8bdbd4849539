"""What a run will draw and how: fixed before the model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.mixture.scheduled import Schedule, ScheduledMixture
from adapt_axolotl.mixture.static import StaticMixture
from adapt_axolotl.sampling.batches import BlockShape, MixtureBatchSampler
from adapt_axolotl.sampling.row_scores import RowScores
from adapt_axolotl.sampling.stream import TaskStream, Unit

# Of the run's time, for the losses before it and for those after it.
MEASURING_SHARE = 0.01
FIRST_ROWS = 32


@dataclass(frozen=True)
class Estimate:
    """Optimizer steps of a run, and what is in one of them, all ranks together: training rows,
    their tokens, and the supervised ones."""

    steps: int
    rows_per_step: float
    step_tokens: float = 0.0
    step_supervised: float = 0.0


@dataclass(frozen=True)
class RunPlan:
    """The draws of a run.

    Attributes:
        pools: the training rows.
        budget: supervised tokens.
        shape: layout of an optimizer step.
        unit: what a share counts.
        ordered: round robin.
        seed: of the draws.
        max_repeats: cap on passes over a task.
        charge_meta_tokens: charge meta steps to the budget.
        initial: (K,) the proportions that a run starts with; a static mixture stays there, unless
            it has a schedule.
        max_steps: the recipe's own `max_steps`, or None.
        quotas: (K,) supervised tokens that a task gets, infinite where that follows from its share;
            None where it does for all.
        schedule: how a static mixture changes over the run; None where it stays.
        learn_rows: draw rows within a task by what their losses say.
        data_digest: of the rows' tokens and labels, validation rows included.
        tokens_spent_before: supervised tokens of earlier runs that this one's mixture comes from.
    """

    pools: TaskPools
    budget: int
    shape: BlockShape
    unit: Unit
    ordered: bool
    seed: int
    max_repeats: float | None
    charge_meta_tokens: bool
    initial: np.ndarray
    max_steps: int | None
    quotas: np.ndarray | None = None
    schedule: Schedule | None = None
    learn_rows: bool = False
    data_digest: str = ""
    tokens_spent_before: int = 0

    def ledger(self) -> TokenLedger:
        return TokenLedger(self.pools, self.budget, charge_meta_tokens=self.charge_meta_tokens)

    def sampler(
        self, ledger: TokenLedger, proportions: Any, scores: RowScores | None = None
    ) -> MixtureBatchSampler:
        """The micro-batches of the run.

        Args:
            ledger: reserves what is drawn.
            proportions: called for each block.
            scores: of rows, where they are chosen among.
        """
        stream = TaskStream(
            self.pools,
            unit=self.unit,
            seed=self.seed,
            max_repeats=self.max_repeats,
            ordered=self.ordered,
            scores=scores,
        )
        undrawn = max(0.0, self.budget - self.drawable)
        return MixtureBatchSampler(stream, proportions, self.shape, ledger, self.quotas, undrawn)

    def first_sampler(self, ledger: TokenLedger) -> MixtureBatchSampler:
        """As a static mixture is drawn; a learned one, until it moves."""

        def proportions() -> np.ndarray:
            return self.mixture(ledger, sampler).proportions

        sampler: MixtureBatchSampler = self.sampler(ledger, proportions)
        return sampler

    def mixture(
        self, ledger: TokenLedger, sampler: MixtureBatchSampler
    ) -> StaticMixture | ScheduledMixture:
        """The mixture of a run that learns none."""
        if self.schedule is None:
            return StaticMixture(self.pools.tasks, self.initial)
        return ScheduledMixture(
            self.pools.tasks, self.schedule, lambda: self.drawn(ledger, sampler)
        )

    def drawn(self, ledger: TokenLedger, sampler: MixtureBatchSampler) -> float:
        """How much of the run has been drawn, 0 to 1, as `progress` tells how much is done."""
        of_budget = 1 - ledger.free / ledger.budget
        tokens = ledger.budget - ledger.free + ledger.skipped_tokens
        return max(of_budget, self._share_of_run(tokens, sampler.blocks))

    def estimate(self, sample: int = 64) -> Estimate:
        """What the budget buys at the first proportions: drawn, not computed, for up to `sample`
        steps, then extrapolated by their mean tokens.

        Raises:
            ValueError: not even one step fits.
        """
        ledger = self.ledger()
        sampler = self.first_sampler(ledger)
        drawn: list[int] = []
        steps = 0
        while steps < sample and (block := sampler.block(steps)) is not None:
            steps += 1
            drawn += block.rows()
        if steps == 0:
            size = self.shape.micro_batches * self.shape.rows
            raise ValueError(
                f"adapt.token_budget: {self.budget:,} supervised tokens are fewer than one "
                f"optimizer step takes ({size} {'bins' if self.shape.bin_tokens else 'rows'}); "
                "raise the budget, or lower micro_batch_size or gradient_accumulation_steps"
            )
        total = steps
        if not sampler.finished:
            spent = self.budget - ledger.free
            total = max(steps, math.ceil(steps * self.budget / spent))
            if self.drawable < self.budget:
                # By what fills a step, because tokens a row change as tasks reach their cap.
                plain = self.shape.bin_tokens is None
                fill = np.ones_like(self.pools.lengths) if plain else self.pools.lengths
                total = min(total, math.ceil(steps * self._drawable(fill) / fill[drawn].sum()))
        if self.max_steps is not None:
            total = min(total, self.max_steps)
        return Estimate(
            steps=total,
            rows_per_step=len(drawn) / steps,
            step_tokens=float(self.pools.lengths[drawn].sum() / steps),
            step_supervised=float(self.pools.supervised_tokens[drawn].sum() / steps),
        )

    @cached_property
    def drawable(self) -> float:
        """About how many supervised tokens `max_repeats` leaves to draw; infinite without it."""
        return (
            math.inf if self.max_repeats is None else self._drawable(self.pools.supervised_tokens)
        )

    def _drawable(self, values: np.ndarray) -> float:
        """About the sum of `values`, (N,), over all draws that `max_repeats` leaves."""
        assert self.max_repeats is not None
        rows = self.pools.rows_of_task
        passes = np.ceil(np.maximum(1, rows * self.max_repeats)) / np.maximum(1, rows)
        ever = self.initial > 0 if self.schedule is None else self.schedule.ever()
        if self.quotas is not None:
            passes = np.minimum(passes, self.quotas / np.maximum(1, self.pools.available_tokens))
        return float((passes * ever)[self.pools.task_of_row] @ values)

    def measured_rows(self, estimate: Estimate) -> tuple[int, int]:
        """Validation rows of each task for the losses before the first step and after the last, at
        most: as many as take 1 % of the run's time on either side, a forward being a third of a
        training step; one of each task at least. A run waits for the first ones, so there are no
        more than 32 of them."""
        trained = estimate.steps * estimate.rows_per_step
        affordable = max(1, int(3 * MEASURING_SHARE * trained / len(self.pools.tasks)))
        return min(FIRST_ROWS, affordable), affordable

    def progress(self, ledger: TokenLedger) -> float:
        """How much of the run is done, 0 to 1: of its budget, or of what ends it first: `max_steps`
        or, with `max_repeats`, the rows."""
        drawn = ledger.used + ledger.skipped_tokens
        return max(ledger.progress, self._share_of_run(drawn, ledger.steps))

    def _share_of_run(self, drawn: int, steps: int) -> float:
        """Of what ends the run before the budget: tokens drawn and optimizer steps so far."""
        of_steps = 0.0 if self.max_steps is None else steps / self.max_steps
        return min(1.0, max(of_steps, drawn / self.drawable))

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on with the same stream of rows."""
        return {
            "tasks": list(self.pools.tasks),
            "rows": self.pools.rows_of_task.tolist(),
            "digest of the rows": self.data_digest,
            "available tokens": self.pools.available_tokens.tolist(),
            "budget": self.budget,
            "micro-batches a step (accumulation x ranks)": self.shape.micro_batches,
            "rows or bins a micro-batch": self.shape.rows,
            "bin tokens": self.shape.bin_tokens,
            "unit": self.unit,
            "round robin": self.ordered,
            "max_repeats": self.max_repeats,
            "charge_meta_tokens": self.charge_meta_tokens,
            "seed": self.seed,
            "first proportions": self.initial.tolist(),
            "adapt.rows": "learned" if self.learn_rows else None,
            "schedule": None if self.schedule is None else self.schedule.fingerprint(),
            "adapt.tokens": None
            if self.quotas is None
            else [None if math.isinf(tokens) else tokens for tokens in self.quotas.tolist()],
        }
