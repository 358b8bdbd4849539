"""A task with a number of tokens gets them, to within a row, and the others share the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.sampling.batches import BlockShape
from adapt_axolotl.sampling.quotas import shares_with_quotas
from tests.support.plain_runs import make_plan

ANY = float("inf")
LONGEST_ROW = 80


def run(plan: RunPlan, stop: int | None = None, state: str | None = None, skip: int = -1) -> tuple:
    """(tokens of each task, those of the largest block, rows of all blocks, the state at the end or
    at `stop`)."""
    ledger = plan.ledger()
    sampler = plan.sampler(ledger, lambda: plan.initial)
    step = 0
    if state is not None:
        kept = json.loads(state)
        sampler.load_state_dict(kept["sampler"])
        ledger.load_state_dict(kept["ledger"])
        step = kept["step"]
    largest, drawn = 0, []
    while step != stop and (block := sampler.block(step)) is not None:
        rows = block.rows()
        drawn += rows
        largest = max(largest, int(plan.pools.supervised_tokens[rows].sum()))
        sampler.block(step + 1)  # as training looks ahead
        sampler.commit(step)
        (ledger.skip if step == skip else ledger.commit)(rows)
        step += 1
    kept = {"sampler": sampler.state_dict(), "ledger": ledger.state_dict(), "step": step}
    return ledger.tokens_of_tasks, largest, drawn, json.dumps(kept)


@pytest.mark.parametrize("bin_tokens", [None, 128])
@pytest.mark.parametrize("budget", [3_000, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_a_quota_is_kept_to_within_a_row_and_the_others_share_by_the_mixture(
    seed: int, budget: int, bin_tokens: int | None
) -> None:
    for quota in (0.05 * budget, 0.4 * budget, 0.9 * budget):
        plan = make_plan(
            seed=seed,
            budget=budget,
            shape=BlockShape(2, 4, bin_tokens),
            quotas=np.array([ANY, quota, ANY]),
            initial=np.array([0.6, 0.1, 0.3]),
        )
        tokens, largest, _, _ = run(plan)
        assert quota - LONGEST_ROW < tokens[1] <= quota
        assert budget - largest - LONGEST_ROW < tokens.sum() <= budget
        others = tokens[0] + tokens[2]
        assert tokens[0] == pytest.approx(2 / 3 * others, abs=LONGEST_ROW)


def test_two_quotas_and_the_whole_run_gets_an_even_part_of_them() -> None:
    plan = make_plan(budget=20_000, quotas=np.array([4000.0, ANY, 9000.0]))
    tokens, _, drawn, _ = run(plan)
    assert tokens[[0, 2]] == pytest.approx([4000, 9000], abs=LONGEST_ROW)
    half = drawn[: len(drawn) // 2]
    task, supervised = plan.pools.task_of_row[half], plan.pools.supervised_tokens[half]
    so_far = np.bincount(task, weights=supervised)
    assert so_far[0] / so_far[2] == pytest.approx(4 / 9, rel=0.1)


def test_a_resumed_run_draws_the_same_rows() -> None:
    for bin_tokens in (None, 128):
        shape = BlockShape(2, 4, bin_tokens)
        plan = make_plan(budget=8000, quotas=np.array([ANY, 3000.0, ANY]), shape=shape)
        _, _, whole, end = run(plan)
        _, _, first, state = run(plan, stop=20)
        _, _, rest, again = run(plan, state=state)
        assert first + rest == whole
        assert again == end


def test_the_look_ahead_changes_no_row() -> None:
    plan = make_plan(budget=8000, quotas=np.array([ANY, 3000.0, ANY]))
    ledger = plan.ledger()
    sampler = plan.sampler(ledger, lambda: plan.initial)
    drawn: list[int] = []
    while (block := sampler.block(sampler._next_index)) is not None:
        drawn += block.rows()
        ledger.commit(sampler.commit(block.index).rows())
    assert drawn == run(plan)[2]


def test_tokens_of_a_skipped_step_are_drawn_again() -> None:
    plan = make_plan(budget=8000, quotas=np.array([ANY, 3000.0, ANY]))
    tokens, _, _, _ = run(plan, skip=10)
    assert 3000 - LONGEST_ROW < tokens[1] <= 3000


def test_near_the_end_a_quota_may_take_all_but_never_more_than_there_is() -> None:
    proportions = np.array([0.5, 0.25, 0.25])
    shares = shares_with_quotas(proportions, np.array([100.0, ANY, ANY]), free=1000.0, block=0.0)
    assert shares == pytest.approx([0.1, 0.45, 0.45])
    shares = shares_with_quotas(proportions, np.array([100.0, ANY, ANY]), free=50.0, block=20.0)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.99
    assert shares[1:].min() > 0
    done = shares_with_quotas(proportions, np.array([0.0, ANY, ANY]), free=10.0, block=20.0)
    assert done == pytest.approx([0, 0.5, 0.5])


def test_a_run_that_max_repeats_ends_makes_progress_to_its_end_and_spreads_the_quota() -> None:
    plan = make_plan(budget=50_000, max_repeats=1.0, quotas=np.array([300.0, ANY, ANY]))
    ledger = plan.ledger()
    sampler = plan.sampler(ledger, lambda: plan.initial)
    step, half = 0, 0
    while (block := sampler.block(step)) is not None:
        sampler.commit(step)
        ledger.commit(block.rows())
        step += 1
        if plan.progress(ledger) < 0.5:
            half = int(ledger.tokens_of_tasks[0])
    assert sampler.rows_ended
    assert plan.progress(ledger) > 0.97
    assert 0.35 * 300 < half < 0.6 * 300
    assert 300 - LONGEST_ROW < ledger.tokens_of_tasks[0] <= 300
    assert plan.estimate().steps == pytest.approx(step, rel=0.1)
