"""Static mixtures that change over a run: at what progress, to what shares."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.mixture.scheduled import Cooling, Phases
from adapt_axolotl.mixture.static import static_proportions
from adapt_axolotl.run.described import schedule
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape
from tests.support.plain_runs import make_plan, make_pools, train

BUDGET = 20_000
PHASES: dict[str, Any] = {
    "token_budget": BUDGET,
    "mixture": "phases",
    "phases": [
        {"until": "30%", "mixture": "weights", "weights": {"a": 1, "b": 0, "c": 1}},
        {"until": "80%", "mixture": "uniform"},
        {"mixture": "temperature", "temperature": 1},
    ],
}
COOLING: dict[str, Any] = {
    "token_budget": BUDGET,
    "mixture": "temperature",
    "temperature": 5,
    "final_temperature": 1,
}


def plan_of(block: dict[str, Any], **changes: Any) -> RunPlan:
    made = schedule(AdaptConfig(**block), make_pools(), BUDGET)
    assert made is not None
    return make_plan(
        budget=BUDGET,
        initial=made.at(0.0),
        schedule=made,
        **changes,
    )


def run_of(plan: RunPlan) -> AdaptRun:
    return AdaptRun(plan, None, lambda rows: np.ones(3), None)


def shares_between(plan: RunPlan, begin: float, end: float) -> np.ndarray:
    """(K,) shares of the tokens drawn between these shares of the budget."""
    ledger = plan.ledger()
    sampler = plan.first_sampler(ledger)
    tokens, step = np.zeros(3), 0
    while (block := sampler.block(step)) is not None:
        rows = block.rows()
        if begin <= ledger.used / ledger.budget < end:
            task, supervised = plan.pools.task_of_row[rows], plan.pools.supervised_tokens[rows]
            tokens += np.bincount(task, weights=supervised, minlength=3)
        sampler.commit(step)
        ledger.commit(rows)
        step += 1
    shares: np.ndarray = tokens / tokens.sum()
    return shares


def test_each_phase_has_its_shares_until_its_end() -> None:
    phases = Phases(np.array([0.3, 1.0]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert phases.at(0).tolist() == phases.at(0.299).tolist() == [1, 0]
    assert phases.at(0.3).tolist() == phases.at(1.0).tolist() == [0.5, 0.5]
    assert phases.ever().all()


def test_the_temperature_goes_evenly_from_the_first_to_the_last() -> None:
    sizes = np.array([100, 10, 1000])
    cooling = Cooling(sizes, 5.0, 1.0, np.zeros(3))
    for progress, temperature in ((0, 5), (0.5, 3), (1, 1)):
        wanted = static_proportions("temperature", sizes.tolist(), temperature=temperature)
        assert cooling.at(progress) == pytest.approx(wanted)
    own = Cooling(sizes, 5.0, 1.0, np.array([0.0, 0.4, 0.0])).at(1.0)
    assert own == pytest.approx([0.6 / 11, 0.4, 6 / 11])


@pytest.mark.parametrize("bin_tokens", [None, 128])
def test_a_run_draws_each_phase_by_its_mixture(bin_tokens: int | None) -> None:
    plan = plan_of(PHASES, shape=BlockShape(2, 4, bin_tokens))
    assert shares_between(plan, 0, 0.29) == pytest.approx([0.5, 0, 0.5], abs=0.02)
    assert shares_between(plan, 0.33, 0.77) == pytest.approx([1 / 3] * 3, abs=0.02)
    available = plan.pools.available_tokens / plan.pools.available_tokens.sum()
    assert shares_between(plan, 0.83, 1) == pytest.approx(available, abs=0.05)


def test_phases_are_shares_of_the_run_where_steps_or_rows_end_it_first() -> None:
    short = plan_of(PHASES, max_steps=50)
    assert short.schedule is not None
    ledger = short.ledger()
    sampler = short.first_sampler(ledger)
    for step in range(50):
        in_force = short.mixture(ledger, sampler).proportions
        assert (in_force == short.schedule.at(step / 50)).all()
        block = sampler.block(step)
        assert block is not None
        ledger.commit(sampler.commit(step).rows())
    capped = plan_of(PHASES, max_repeats=0.5)
    end = capped.drawable / BUDGET
    assert end < 0.6
    assert shares_between(capped, 0, 0.28 * end)[1] == 0
    assert shares_between(capped, 0.32 * end, end)[1] > 0.1  # until its rows end


def test_tasks_with_tokens_of_their_own_keep_them_in_every_phase() -> None:
    phases = [{"until": "50%", "mixture": "uniform"}, {"mixture": "proportional"}]
    plan = plan_of({**PHASES, "phases": phases, "tokens": {"b": 4000}})
    assert plan.schedule is not None
    assert [plan.schedule.at(progress)[1] for progress in (0, 1)] == pytest.approx([0.2, 0.2])
    assert plan.schedule.at(0) == pytest.approx([0.4, 0.2, 0.4])


@pytest.mark.parametrize("block", [PHASES, COOLING], ids=["phases", "temperature"])
@pytest.mark.parametrize("stop", [10, 61])
def test_a_resumed_run_goes_on_with_the_same_rows_and_mixture(
    block: dict[str, Any], stop: int
) -> None:
    whole, first, rest = (run_of(plan_of(block)) for _ in range(3))
    whole.start()
    train(whole)
    first.start()
    train(first, stop=stop)
    rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest.start()
    train(rest, begin=stop)
    assert rest.ledger.report() == whole.ledger.report()
    assert (rest.average() == whole.average()).all()


def test_what_is_forecast_is_drawn() -> None:
    plan = plan_of(COOLING)
    run = run_of(plan)
    run.start()
    ledger = plan.ledger()
    sampler = plan.first_sampler(ledger)
    for step in range(train(run)):
        block = sampler.block(step)
        assert block is not None
        ledger.commit(sampler.commit(step).rows())
    assert ledger.report() == run.ledger.report()


def test_a_checkpoint_of_other_phases_is_refused() -> None:
    plan = plan_of(PHASES)
    run = run_of(plan)
    run.start()
    train(run, stop=3)
    assert isinstance(plan.schedule, Phases)
    later = replace(plan.schedule, ends=np.array([0.4, 0.8, 1.0]))
    with pytest.raises(ValueError, match=r"schedule: .* then, .* now"):
        run_of(replace(plan, schedule=later)).load_state_dict(run.state_dict())
