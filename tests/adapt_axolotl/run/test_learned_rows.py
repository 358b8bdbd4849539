"""The losses of a step reach the rows' scores, whichever rank saw them; budgets stay exact."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adapt_axolotl.run.learned_rows import LearnedRows
from adapt_axolotl.run.state import AdaptRun
from tests.support.plain_runs import make_plan, make_pools

POOLS = make_pools(sizes=(60, 20, 40))


class RowByRow:
    """Losses that follow from a row's number, as a training loop would give them."""

    def __init__(self, run: AdaptRun) -> None:
        self._run = run
        self.drawn: list[int] = []

    def train(self, begin: int = 0, stop: int | None = None) -> int:
        step, more = begin, True
        while more and step != stop:
            self._run.begin_step(step)
            block = self._run.sampler.block(step)
            assert block is not None
            for micro_batch in block.micro_batches:
                rows = np.array(micro_batch)
                tokens = POOLS.supervised_tokens[rows]
                losses = 1 + (rows % 10 == 0) * 2 + 0.2 * np.sin(rows)
                self._run.take_losses(micro_batch, losses * tokens, tokens)
            self.drawn += block.rows()
            self._run.commit_step(step)
            more = self._run.end_step(step, record=False)
            step += 1
        return step


def make_run(**changes) -> AdaptRun:
    plan = make_plan(pools=POOLS, budget=30_000, learn_rows=True, **changes)
    run = AdaptRun(plan, None, lambda rows: np.ones(3), None)
    run.start()
    return run


def test_hard_rows_are_drawn_less_and_the_budget_is_exact() -> None:
    run = make_run(unit="examples")
    loop = RowByRow(run)
    loop.train()
    visits = np.bincount(loop.drawn, minlength=120)
    hard = np.arange(120) % 10 == 0
    for task in range(3):
        own = POOLS.task_of_row == task
        if (own & hard).sum():
            assert visits[own & hard].mean() < 0.6 * visits[own & ~hard].mean()
    assert run.ledger.used <= 30_000
    block = POOLS.supervised_tokens.max() * 8
    assert run.ledger.used > 30_000 - block
    shares = run.ledger.examples_of_tasks / run.ledger.examples_of_tasks.sum()
    assert np.abs(shares - run.plan.initial).max() < 0.01


def test_repeats_stay_capped_by_task() -> None:
    run = make_run(max_repeats=3.0, unit="examples")
    RowByRow(run).train()
    assert run.sampler.rows_ended
    assert run.ledger.examples_of_tasks.tolist() == [180, 60, 120]


def test_a_run_resumed_after_any_step_draws_what_it_would_have_drawn() -> None:
    whole = RowByRow(make_run())
    steps = whole.train()
    for stop in range(1, steps, 13):
        first = make_run()
        before = RowByRow(first)
        before.train(stop=stop)
        state = json.loads(json.dumps(first.state_dict()))
        second = AdaptRun(first.plan, None, lambda rows: np.ones(3), None)
        second.load_state_dict(state)
        second.start()
        after = RowByRow(second)
        after.train(begin=stop)
        assert before.drawn + after.drawn == whole.drawn


def test_a_checkpoint_without_learned_rows_is_refused() -> None:
    plain = AdaptRun(make_plan(pools=POOLS, budget=30_000), None, lambda rows: np.ones(3), None)
    plain.start()
    state = plain.state_dict()
    run = make_run()
    with pytest.raises(ValueError, match=r"adapt\.rows: None then, learned now"):
        run.load_state_dict(state)


def test_ranks_that_saw_half_of_a_step_each_know_all_of_it() -> None:
    """A row that was drawn twice in a step counts by its mean, on one rank or on two."""
    rng = np.random.default_rng(0)
    block = [*rng.permutation(60)[:15].tolist(), 3, 3]
    tokens = POOLS.supervised_tokens[block]
    sums = rng.gamma(2.0, 1.0, len(block)) * tokens
    parts = [np.arange(0, len(block), 2), np.arange(1, len(block), 2)]

    def taken(places: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
        def sum_over_ranks(values: np.ndarray) -> np.ndarray:
            rows = np.unique(block)
            summed = values.copy()
            for other in others:
                at = np.searchsorted(rows, np.array(block)[other])
                np.add.at(summed[0], at, sums[other])
                np.add.at(summed[1], at, tokens[other])
            return summed

        one = LearnedRows(POOLS, sum_over_ranks)
        for place in places:
            one.take(np.array(block)[place], sums[place], tokens[place])
        one.end_step(block)
        return one.scores.scores()

    alone = taken([np.arange(len(block))], [])
    assert np.isfinite(alone).sum() > 8
    for mine, theirs in (parts, parts[::-1]):
        assert np.array_equal(taken([mine], [theirs]), alone, equal_nan=True)
