"""A run of `learned_signal.py`: with a `Learning` of its own, which a recipe need not be able to
say. K tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from study_data import BIN, Data
from study_learners import LEARNING_RATE, Learning, Watched, make_learner
from study_model import make_model, make_optimizer, tested, train_to_the_end

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.learning import Learner
from adapt_axolotl.meta_step.validation import validation_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.static import static_proportions
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape


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
    learning_rate: float = LEARNING_RATE,
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
        learning_rate: the highest of the run; of a learned one the default.
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
    seconds = train_to_the_end(run, model, make_optimizer(model), rows, learning_rate)
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
