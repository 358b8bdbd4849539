"""Runs whose mixture follows the training losses of each step, without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.methods import BY_LOSSES
from adapt_axolotl.meta_step.loss_learner import LossLearner
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.doremi import DoReMi
from adapt_axolotl.mixture.group_dro import GroupDro
from adapt_axolotl.recipe.earlier_run import EarlierRun
from adapt_axolotl.run.described import initial_proportions, quotas
from adapt_axolotl.run.methods import loss_mixture
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape
from tests.support.plain_runs import make_plan, make_pools

BUDGET = 20_000
REFERENCE = (1.0, 1.2, 0.8)


class Recorded:
    """Takes the lines of a history."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def begin(self, steps: int) -> None: ...

    def append_history(self, line: dict[str, Any]) -> None:
        self.lines.append(line)


def reference_run() -> EarlierRun:
    tasks = {
        name: {"last_validation_loss": loss} for name, loss in zip("abc", REFERENCE, strict=True)
    }
    return EarlierRun("adapt.reference", "runs/uniform", {"tasks": tasks}, {}, [], "tokens")


def run_of(
    method: str, ranks: Ranks | None = None, adapt: dict[str, Any] | None = None, **changes: Any
) -> AdaptRun:
    pools = make_pools()
    needed = {"reference": "runs/uniform"} if method == "doremi" else {}
    block = AdaptConfig(token_budget=BUDGET, mixture=method, **needed, **(adapt or {}))
    initial = initial_proportions(block, pools, BUDGET)
    earlier = reference_run() if method == "doremi" else None
    mixture = loss_mixture(block, pools.tasks, initial, earlier, 2)
    plan = make_plan(budget=BUDGET, initial=initial, quotas=quotas(block, pools, BUDGET), **changes)
    learner = LossLearner(mixture, ranks or Ranks(), torch.device("cpu"))
    return AdaptRun(plan, learner, lambda rows: np.ones(3), None)


def losses_of(plan: RunPlan, rows: np.ndarray, step: int) -> tuple[np.ndarray, ...]:
    """(sums, tokens) of rows: task b has most left to learn, a falls fastest."""
    tasks, tokens = plan.pools.task_of_row[rows], plan.pools.supervised_tokens[rows]
    means = np.array([3.0, 4.0, 2.0])[tasks] * np.array([0.97, 0.995, 0.98])[tasks] ** step
    return (means + 0.1 * np.sin(rows)) * tokens, tokens


def train(
    run: AdaptRun,
    *,
    begin: int = 0,
    stop: int | None = None,
    record: Callable[[int], bool] = lambda step: True,
) -> int:
    step, more = begin, True
    while more and step != stop:
        run.begin_step(step)
        block = run.sampler.block(step)
        assert block is not None
        rows = np.array(block.rows())
        run.take_losses(block.rows(), *losses_of(run.plan, rows, step))
        run.commit_step(step)
        more = run.end_step(step, record=record(step))
        step += 1
    return step


@pytest.mark.parametrize("method", BY_LOSSES)
@pytest.mark.parametrize("bin_tokens", [None, 128])
def test_the_budget_is_kept_and_the_mixture_drawn(method: str, bin_tokens: int | None) -> None:
    adapt = {"step_size": 0.05} if method == "group_dro" else None
    run = run_of(method, adapt=adapt, shape=BlockShape(2, 4, bin_tokens))
    run.start()
    train(run)
    report = run.ledger.report()
    assert BUDGET - 8 * 80 < report["used"] <= BUDGET
    assert report["meta_tokens"] == 0
    drawn = np.array([task["tokens"] for task in report["tasks"].values()]) / report["used"]
    assert drawn == pytest.approx(run.average(), abs=0.03)
    assert run.average()[1] > 1 / 3


@pytest.mark.parametrize("method", BY_LOSSES)
@pytest.mark.parametrize("stop", [1, 2, 40])
def test_a_resumed_run_is_the_run_that_was_not_stopped(method: str, stop: int) -> None:
    whole, first, rest = (run_of(method) for _ in range(3))
    whole.start()
    train(whole)
    first.start()
    train(first, stop=stop)
    rest.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    rest.start()
    train(rest, begin=stop)
    assert rest.ledger.report() == whole.ledger.report()
    assert rest.state_dict()["meta"] == whole.state_dict()["meta"]
    assert (rest.average() == whole.average()).all()


@pytest.mark.parametrize("method", BY_LOSSES)
def test_a_mixture_moves_after_the_next_step_was_drawn(method: str) -> None:
    run = run_of(method)
    run.start()
    for step in range(3):
        before = run.mixture.proportions
        train(run, begin=step, stop=step + 1)
        mixture = run.mixture
        # What the rows of the step after the next are told to have been drawn under.
        assert mixture.state_dict()["before"] == before.tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", BY_LOSSES)
def test_a_task_with_tokens_of_its_own_keeps_them(method: str) -> None:
    run = run_of(method, adapt={"tokens": {"a": 1500}})
    run.start()
    train(run)
    assert 1500 - 6 < run.ledger.report()["tasks"]["a"]["tokens"] <= 1500
    assert run.mixture.proportions[0] == pytest.approx(0.075)


@pytest.mark.parametrize("method", BY_LOSSES)
def test_rows_that_end_go_to_the_others(method: str) -> None:
    run = run_of(method, max_repeats=2.0)
    run.start()
    train(run)
    assert max(task["repeats"] for task in run.ledger.report()["tasks"].values()) <= 2


def test_history_has_a_line_where_something_is_logged_and_no_meta_step() -> None:
    run, recorded = run_of("odm"), Recorded()
    run._directory = recorded  # type: ignore[assignment]
    run.start()
    train(run, stop=30, record=lambda step: step % 10 == 9)
    assert [line["step"] for line in recorded.lines] == [10, 20, 30]
    line = recorded.lines[-1]
    assert line["estimator"] is None
    assert line["proportions"] == dict(zip("abc", run.mixture.proportions, strict=True))
    losses = {line["step"]: line["training_loss"]["b"] for line in recorded.lines}
    known = {step: loss for step, loss in losses.items() if loss is not None}
    assert known
    for step, loss in known.items():
        assert loss == pytest.approx(4 * 0.995 ** (step - 1), abs=0.2)


def test_losses_are_of_all_ranks_and_those_that_are_not_finite_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Two(Ranks):
        """Another process had the same rows, with twice the losses."""

        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            other = tensor.clone()
            other[0] *= 2
            return tensor + other

    learner = run_of("odm", Two()).learner
    assert isinstance(learner, LossLearner)
    tokens = np.array([2, 4, 3])
    learner.take_rows(np.array([0, 0, 1]), np.array([2.0, 4.0, np.inf]), tokens)
    learner.end_step(np.zeros(3), 0.0, np.ones(3, dtype=bool))
    assert learner.losses == pytest.approx([1.5, np.nan, np.nan], nan_ok=True)
    assert "task 'b': the loss of some of its rows is not finite" in caplog.text
    learner.end_step(np.zeros(3), 0.0, np.ones(3, dtype=bool))
    assert np.isnan(learner.losses).all()


def test_a_checkpoint_of_other_settings_or_another_reference_is_refused() -> None:
    run = run_of("doremi")
    run.start()
    train(run, stop=3)
    learner = run.learner
    assert isinstance(learner, LossLearner)
    for rule, says in (
        (DoReMi(np.array(REFERENCE), smoothing=0.1), r"adapt\.smoothing: 0\.001 then, 0\.1 now"),
        (DoReMi(np.array(REFERENCE) + 0.1), r"losses of adapt\.reference: .* then, .* now"),
        (GroupDro(), r"adapt\.mixture: doremi then, group_dro now"),
    ):
        other = run_of("doremi")
        assert isinstance(other.learner, LossLearner)
        other.learner.mixture.rule = rule
        with pytest.raises(ValueError, match=says):
            other.load_state_dict(run.state_dict())


def test_tokens_of_earlier_runs_stand_in_the_ledger() -> None:
    run = run_of("odm")
    run.plan = replace(run.plan, tokens_spent_before=1234)
    run.start()
    train(run)
    run.finish()
    assert run._final_records().ledger["tokens_spent_before"] == 1234
