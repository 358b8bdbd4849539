"""What a run will draw under its first mixture, row by row, and what its meta steps will add.

The rows are those that training draws: of a static run all figures are exact; a learned mixture
moves, and so do they.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.commands.preview.new_rows import NewRows
from adapt_axolotl.commands.preview.reads import MetaReads, Settings
from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.meta_step.falls import NAME as LOSS_FALLS
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.training_losses import NAME as TRAINING_LOSSES
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.run.plan import RunPlan

# Up to four passes, repeated data is nearly worth new data (arXiv 2305.16264).
REPEATS = 4.0


@dataclass(frozen=True)
class TaskForecast:
    """One task. Tokens are supervised tokens.

    Attributes:
        rows: of its training pool.
        available: tokens of its training pool.
        validation_rows: held out, or of its test_datasets.
        rows_read: in its training files.
        rows_unfit: of those, left out by sequence_len.
        share: of the tokens drawn under the first mixture.
        tokens: drawn under the first mixture.
        repeats: passes over its rows under the first mixture.
        limit: share of the budget above which it is repeated more than `REPEATS` times; None where
            the mixture cannot get there, or the task is a target without training rows.
    """

    name: str
    rows: int
    available: int
    validation_rows: int
    rows_read: int
    rows_unfit: int
    share: float
    tokens: int
    repeats: float
    limit: float | None


@dataclass(frozen=True)
class MetaForecast:
    """The meta steps of a learned run.

    Attributes:
        steps: how many.
        rows_per_task: validation rows of each task that one of them reads; 0 where they learn from
            the losses of training.
        first: the optimizer step of the first, from 0; None if there is none.
        measures: what they measure: losses of training, falls of losses, or gradient products by
            the estimator that is expected; the model may turn out to need another.
        tokens: supervised tokens that they read beside the training batches, expected.
        new_rows: of each task, K: rows not trained on before that the first move of the mixture
            and the last one are told from; None where it does not learn from those.
        cost: their cost as a part of that of training, by the tokens that they read and the
            measured cost of each kind of pass.
    """

    steps: int
    rows_per_task: int
    first: int | None
    measures: str
    tokens: int
    cost: float
    new_rows: tuple[list[int], list[int]] | None = None


@dataclass(frozen=True)
class Forecast:
    """A run under its first mixture. Tokens are supervised tokens.

    Attributes:
        mixture: as the recipe names it.
        follows_losses: it moves with the training losses of each step.
        budget: tokens it may spend.
        available: tokens of all training pools.
        tokens: it will spend.
        steps: optimizer steps.
        rows_per_step: mean, all processes together.
        rows_ended: every task reaches `max_repeats` before the budget is spent.
        max_steps: of the recipe, where it ends the run before the budget does; else None.
        measured: validation rows of each task, at most, for the losses before the first step and
            for those after the last.
        measuring_cost: of both, as a part of the training, by counting forwards.
        tasks: in the order of the recipe.
        meta: None for a static mixture.
        targets: the tasks that alone count, if any are named.
        bounded: tasks whose losses are to end below a bound.
        learn_rows: rows within a task are drawn by their losses.
    """

    mixture: str
    follows_losses: bool
    budget: int
    available: int
    tokens: int
    steps: int
    rows_per_step: float
    rows_ended: bool
    max_steps: int | None
    measured: tuple[int, int]
    measuring_cost: float
    tasks: list[TaskForecast]
    meta: MetaForecast | None
    targets: tuple[str, ...]
    bounded: tuple[str, ...]
    learn_rows: bool


def forecast(plan: RunPlan, tasks: Tasks, adapt: AdaptConfig, meta: Settings | None) -> Forecast:
    """Draw a whole run: about 50,000 rows a second."""
    pools, held_out = tasks.pools, tasks.validation_pools
    ledger = plan.ledger()
    sampler = plan.first_sampler(ledger)
    reads = MetaReads(pools, held_out, np.isin(pools.tasks, adapt.counted or pools.tasks))
    spent = 0
    step = meta_steps = 0
    training = measuring = 0.0
    first: int | None = None
    counted = NewRows(plan, held_out, meta) if isinstance(meta, CurveSettings) else None
    while (block := sampler.block(step)) is not None:
        if step == plan.max_steps:
            break
        rows = block.rows()
        length = int(pools.lengths[rows].sum())
        # Falls of losses: from the second time on, the rows of the time before again.
        passes = 2 if isinstance(meta, FallSettings) and meta_steps else 1
        if meta is not None and _due(meta, step, plan.progress(ledger), counted, ledger):
            rows_read = None if counted is None else counted.held_out
            extra = passes * reads.tokens(meta, rows_read)
            if ledger.spend_on_meta_step(extra):
                meta_steps += 1
                spent += extra
                first = step if first is None else first
                measuring += length * passes * reads.cost(meta, length, rows_read)
        training += length
        before = ledger.used
        ledger.commit(sampler.commit(step).rows())
        if counted is not None:
            counted.add(rows, before, ledger)
        step += 1
    report = ledger.report()
    measured = plan.measured_rows(plan.estimate())
    forwards = sum(int(np.minimum(held_out.rows_of_task, rows).sum()) for rows in measured)
    trained = sum(one["examples"] for one in report["tasks"].values())
    return Forecast(
        mixture=adapt.mixture,
        follows_losses=adapt.follows_losses,
        budget=plan.budget,
        available=int(pools.available_tokens.sum()),
        tokens=report["used"],
        steps=step,
        rows_per_step=trained / step,
        rows_ended=sampler.rows_ended,
        max_steps=None if block is None else plan.max_steps,
        measured=measured,
        measuring_cost=forwards / 3 / trained,  # a forward is a third of a training step
        tasks=[
            TaskForecast(
                name=name,
                rows=one["rows"],
                available=one["available"],
                validation_rows=int(held_out.rows_of_task[k]),
                rows_read=tasks.read[name].rows,
                rows_unfit=tasks.read[name].unfit,
                share=one["tokens"] / report["used"],
                tokens=one["tokens"],
                repeats=one["repeats"],
                limit=_limit(plan, adapt, one["available"]),
            )
            for k, (name, one) in enumerate(report["tasks"].items())
        ],
        meta=None
        if meta is None
        else MetaForecast(
            steps=meta_steps,
            rows_per_task=0 if isinstance(meta, CurveSettings) else meta.rows_per_task,
            first=first,
            measures=_measures(meta),
            tokens=spent,
            cost=measuring / training,
            new_rows=None if counted is None else (counted.first.tolist(), counted.last.tolist()),
        ),
        targets=() if meta is None else adapt.targets,
        bounded=() if meta is None else tuple(adapt.learned.bounds or ()),
        learn_rows=plan.learn_rows,
    )


def _limit(plan: RunPlan, adapt: AdaptConfig, available: int) -> float | None:
    """See `TaskForecast.limit`."""
    if not available or (plan.max_repeats is not None and plan.max_repeats <= REPEATS):
        return None
    count = int((plan.initial > 0).sum())
    floor = adapt.floor if adapt.mixture == "learned" else 0.0
    reachable = 1 - floor * (count - 1) / count
    share = REPEATS * available / plan.budget
    return share if share < reachable else None


def _measures(meta: Settings) -> str:
    if isinstance(meta, CurveSettings):
        return TRAINING_LOSSES
    return LOSS_FALLS if isinstance(meta, FallSettings) else meta.estimators[0].name


def _due(
    meta: Settings, step: int, progress: float, counted: NewRows | None, ledger: TokenLedger
) -> bool:
    """Whether optimizer step `step` has a meta step."""
    if isinstance(meta, CurveSettings):
        return counted is not None and counted.due(ledger)
    return meta.due(step, progress)
