"""The plan tells what training will do: the same rows, steps and meta steps."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from adapt_axolotl.commands.preview.forecast import Forecast, forecast
from adapt_axolotl.commands.preview.notes import notes
from adapt_axolotl.commands.preview.table import plan_table
from adapt_axolotl.commands.preview.warnings import warnings
from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.data.cache import RowsRead
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.data.tasks import Tasks
from adapt_axolotl.meta_step.falls import FallSettings
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.per_task import PER_TASK
from tests.support.launch import FALLS, history, ledger, recipe, train
from tests.support.plain_runs import make_plan, make_pools

META = MetaSettings(
    update_every=5,
    start_after=0.1,
    rows_per_task=4,
    tasks_at_once=3,
    look_ahead=False,
    estimators=(IN_BACKWARD, FINITE_DIFFERENCE),
    seed=0,
)


def make_forecast(meta: MetaSettings | None = None, adapt: Any = None, **changes: Any) -> Forecast:
    """Of a run over the tasks a, b and c at 50, 20 and 30 %."""
    plan = make_plan(**changes)
    held_out = TaskPools(
        plan.pools.tasks, np.repeat([0, 1, 2], 20), np.full(60, 7), np.full(60, 30)
    )
    read = {name: RowsRead(1000, 0) for name in plan.pools.tasks}
    tasks = Tasks(None, plan.pools, None, held_out, read)
    return forecast(plan, tasks, AdaptConfig(token_budget=5000, **(adapt or {})), meta)


def test_where_rows_are_chosen_among_is_told() -> None:
    once = make_forecast(learn_rows=True, budget=1500)
    assert "no task's rows come round a third time" in "\n".join(warnings(once, 64))
    often = make_forecast(learn_rows=True, budget=60_000)
    said = "\n".join(notes(often, 64))
    assert "from their task's third pass on, in: a, b." in said
    assert "third time" not in "\n".join(warnings(often, 64))
    plain = make_forecast()
    assert "adapt.rows" not in "\n".join([*notes(plain, 64), *warnings(plain, 64)])


def test_what_becomes_of_tasks_that_do_not_count_is_told() -> None:
    adapt = {"learned": {"targets": ["b"]}}
    said = "\n".join(notes(make_forecast(CurveSettings(start_after=0.1), adapt), 64))
    assert "Only b counts (targets): the others get little more than adapt.fl" in said
    assert "adapt.learned.targets" not in "\n".join(notes(make_forecast(adapt=adapt), 64))


def test_a_mixture_that_follows_losses_is_told_to_move() -> None:
    run = make_forecast(adapt={"mixture": "odm"})
    said = "\n".join(notes(run, 64))
    assert "Mixture: odm (ODM, arXiv 2312.02406). It moves with the training losses" in said
    assert "It does not learn" not in said
    assert "Rows are seen more than 4 times where" in said
    assert run.meta is None


def test_what_the_study_found_of_such_mixtures_is_said() -> None:
    def said(mixture: str, sizes: tuple[int, ...], budget: int = 1000, **adapt: Any) -> str:
        pools = make_pools(sizes=sizes)
        meta = CurveSettings(start_after=0.1) if mixture == "learned" else None
        return "\n".join(
            notes(
                make_forecast(meta, {"mixture": mixture, **adapt}, pools=pools, budget=budget), 64
            )
        )

    uneven, alike = (400, 3, 900), (400, 30, 100)
    assert "times the smallest. Where every task counts" in said("proportional", uneven)
    assert "mixture: uniform" in said("temperature", uneven)
    assert "docs/study.md" not in said("proportional", alike)
    assert "docs/study.md" not in said("proportional", uneven, budget=10**6)  # rows run out
    assert "docs/study.md" not in said("uniform", uneven)
    assert "What to expect: the loss of the tasks that lag behind" in said("learned", uneven)
    assert "What to expect" not in said("learned", uneven, learned={"targets": ["b"]})


def test_what_becomes_of_a_task_with_a_bound_is_said() -> None:
    learned = {"bounds": {"b": 1.5}}
    curves = CurveSettings(start_after=0.1)
    said = "\n".join(notes(make_forecast(curves, adapt={"learned": learned}), 64))
    assert "Of b the loss is to end below a bound (adapt.learned.bounds)" in said
    assert "adapt.learned.bounds" not in "\n".join(notes(make_forecast(curves), 64))


def test_a_plan_of_several_passes_and_of_rows_that_end_first() -> None:
    available = make_forecast().available
    thrice = make_forecast(budget=3 * available)
    assert thrice.tokens == pytest.approx(3 * available, rel=0.02)
    assert not thrice.rows_ended
    assert sum(task.repeats for task in thrice.tasks) > 6
    capped = make_forecast(budget=3 * available, max_repeats=2.0)
    assert capped.rows_ended
    assert capped.tokens == pytest.approx(2 * available, rel=0.1)
    says = "every task reaches adapt.max_repeats before the budget"
    assert [says in line for line in warnings(capped, 64)].count(True) == 1
    assert not [line for line in warnings(thrice, 64) if says in line]


def test_shares_and_repeats_are_those_of_the_first_mixture() -> None:
    run = make_forecast(adapt={"mixture": "uniform"})
    assert [task.share for task in run.tasks] == pytest.approx([0.5, 0.2, 0.3], abs=0.01)
    assert sum(task.tokens for task in run.tasks) == run.tokens <= run.budget
    # The pool of `a`, the largest share, is gone through more than once.
    a, b, _ = run.tasks
    assert a.repeats == pytest.approx(a.tokens / a.available, rel=0.05)
    assert a.repeats > 2 > 1 > b.repeats
    assert run.meta is None


def test_a_task_repeats_more_than_four_times_above_its_limit() -> None:
    a, b, c = make_forecast(META, budget=20_000).tasks
    assert a.limit == pytest.approx(4 * a.available / 20_000)
    assert a.share > a.limit
    assert a.repeats > 4
    assert b.share < b.limit
    assert b.repeats < 4
    assert c.limit is None  # the whole budget is less than four passes
    capped = make_forecast(META, budget=20_000, max_repeats=2.0)
    assert [task.limit for task in capped.tasks] == [None] * 3
    assert max(task.repeats for task in capped.tasks) <= 2


def test_meta_steps_are_counted_and_cost_what_their_passes_cost() -> None:
    run = make_forecast(META)
    assert run.meta is not None
    expected = [step for step in range(run.steps) if step % 5 == 0]
    # The first tenth of the budget has none.
    assert run.meta.steps == len([step for step in expected if step >= 0.1 * run.steps])
    assert run.meta.tokens == run.meta.steps * 4 * 3 * 7
    in_turn = make_forecast(replace(META, tasks_at_once=2)).meta
    assert in_turn is not None
    assert in_turn.tokens == in_turn.steps * 4 * 3 * 7 / 2  # two turns a round, 2 tasks and 1
    dearer = make_forecast(replace(META, estimators=(PER_TASK,)))
    assert dearer.meta is not None
    assert dearer.meta.cost > run.meta.cost > 0
    assert dearer.meta.tokens > run.meta.tokens


def test_falls_of_losses_cost_a_forward_of_their_rows() -> None:
    run = make_forecast(FallSettings(steps=(3, 6, 9, 12, 15), rows_per_task=4, seed=0))
    assert run.meta is not None
    assert (run.meta.steps, run.meta.first, run.meta.measures) == (5, 3, "loss_falls")
    assert run.meta.tokens == 9 * 4 * 3 * 7  # all but the last rows are measured twice
    sampler = (plan := make_plan()).sampler(ledger := plan.ledger(), lambda: plan.initial)
    trained = 0
    for step in range(run.steps):
        block = sampler.block(step)
        assert block is not None
        trained += int(plan.pools.lengths[block.rows()].sum())
        ledger.commit(sampler.commit(step).rows())
    assert run.meta.cost == pytest.approx(9 * 4 * 3 * 30 / 3 / trained)


def test_what_training_losses_are_told_from_is_counted_and_costs_nothing() -> None:
    available = make_forecast().available
    run = make_forecast(CurveSettings(start_after=0.1), budget=available // 8)
    assert run.meta is not None
    assert run.meta.new_rows is not None
    assert (run.meta.tokens, run.meta.cost) == (0, 0.0)
    # Steps are coarse at first, so stretches are a little longer than 15 %.
    assert run.meta.steps == pytest.approx(np.log(1 / 0.1) / np.log(1.15) - 4, abs=3)
    first, last = map(np.array, run.meta.new_rows)
    trained = np.array([task.repeats * task.rows for task in run.tasks])
    # From 10 % of the budget to the first move, four stretches of 15 % or of whole steps later.
    assert 0.05 * trained.sum() < first.sum() < 0.2 * trained.sum()
    assert last == pytest.approx(2 / 3 * trained, rel=0.1, abs=4)
    assert f"{first.min()} of each task or more (fewest of b)" in notes(run, 64)[1]
    # In three passes, rows are new in the first of them only.
    thrice = make_forecast(CurveSettings(start_after=0.1), budget=3 * available)
    assert thrice.meta is not None
    assert thrice.meta.new_rows is not None
    assert sum(thrice.meta.new_rows[1]) < 0.5 * sum(t.repeats * t.rows for t in thrice.tasks)


def test_the_losses_before_and_after_the_run_are_counted() -> None:
    plan = make_plan()
    run = make_forecast(adapt={"mixture": "uniform"})
    assert run.measured == plan.measured_rows(plan.estimate())
    rows = sum(3 * min(20, one) for one in run.measured)  # pools of 20 validation rows
    trained = run.steps * run.rows_per_step
    assert run.measuring_cost == pytest.approx(rows / 3 / trained)
    (said,) = [line for line in notes(run, 64) if line.startswith("Validation losses")]
    assert f"at most {run.measured[0]} rows of each task before the first step" in said


def test_max_steps_ends_the_forecast_too() -> None:
    run = make_forecast(max_steps=3)
    assert (run.steps, run.max_steps) == (3, 3)
    assert make_forecast(max_steps=10_000).max_steps is None  # the budget ends it


def test_what_deserves_a_second_thought_is_said_with_its_remedy() -> None:
    run = make_forecast(META)
    assert run.meta is not None
    task = replace(run.tasks[0], repeats=1.0, validation_rows=64, rows_read=100, rows_unfit=0)
    fine = replace(run, steps=500, tasks=[task], meta=replace(run.meta, steps=100, cost=0.04))
    assert warnings(fine, 64) == []
    bad = replace(
        fine,
        steps=10,
        meta=replace(run.meta, steps=2, cost=0.13),
        tasks=[replace(task, rows=40, repeats=6.5, validation_rows=4, rows_unfit=60)],
    )
    unfit = "Longer than sequence_len: 64 and left out: a 60 of 100 rows (60.0%). Raise sequence_l"
    says = [
        "the budget of 5,000 tokens buys 10 optimizer steps, fewer than 50; raise adapt.token_bud",
        "2 meta steps, fewer than 4, so the mixture will stay what it starts with; raise adapt.le",
        "meta steps will add about 13% to the training time, more than 6%, because a step of 8 ro",
        "a: each of its 40 rows is seen 6.5 times under the first mixture; set adapt.max_repeats",
        "a: 4 validation rows, fewer than 16: its loss is mostly noise; raise adapt.val_examples",
        unfit,
    ]
    for line, start in zip(warnings(bad, 64), says, strict=True):
        assert line.startswith(start)


def test_where_max_steps_ends_the_run_the_remedy_is_max_steps() -> None:
    run = make_forecast(META, max_steps=3, budget=20_000)
    found = "\n".join(warnings(replace(run, tasks=[replace(run.tasks[0], repeats=6.5)]), 64))
    assert "max_steps: 3 ends the run before the budget does, after fewer than 50" in found
    assert found.count("raise or remove max_steps") == 2
    assert "lower max_steps" in found
    assert "token_budget" not in found
    assert "max_steps: 3 ends the run with" in "\n".join(notes(run, 64))


def test_rows_that_sequence_len_leaves_out_are_always_told() -> None:
    run = make_forecast()
    a, b, c = run.tasks

    def told(*unfit: int) -> tuple[str, str]:
        tasks = [
            replace(task, rows_read=1000, rows_unfit=count)
            for task, count in zip((a, b, c), unfit, strict=True)
        ]
        one = replace(run, tasks=tasks)
        return "\n".join(notes(one, 64)), "\n".join(warnings(one, 64))

    assert "sequence_len" not in "".join(told(0, 0, 0))
    few, no_warning = told(0, 1, 20)
    line = "Longer than sequence_len: 64 and left out: c 20 of 1,000 rows (2.0%), b 1 of 1,000 rows"
    assert line in few
    assert "sequence_len" not in no_warning
    no_note, many = told(60, 1, 0)
    assert "left out: a 60 of 1,000 rows (6.0%), b 1 of 1,000 rows (0.1%)" in many
    assert "excess_length_strategy: truncate" in many
    assert "sequence_len" not in no_note


def test_shares_above_which_rows_repeat_too_often_are_a_sentence() -> None:
    run = make_forecast(META, budget=20_000)
    (line,) = [line for line in notes(run, 64) if "more than 4 times" in line]
    a, b, _ = run.tasks
    assert a.limit is not None
    assert b.limit is not None
    assert f"rises above: b {b.limit:.1%}, a {a.limit:.1%}. Up to" in line or (
        f"rises above: a {a.limit:.1%}, b {b.limit:.1%}. Up to" in line
    )
    many = replace(run, tasks=[replace(a, name=f"t{n}", limit=0.1 + n / 100) for n in range(9)])
    (line,) = [line for line in notes(many, 64) if "more than 4 times" in line]
    assert "t0 10.0%" in line
    assert "t5 15.0%, and 3 more tasks." in line
    capped = make_forecast(META, budget=20_000, max_repeats=2.0)
    assert any(line.startswith("Whatever the mixture learns, no row") for line in notes(capped, 64))


@pytest.mark.parametrize("meta", [META, None])
def test_the_table_fits_a_terminal(meta: MetaSettings | None) -> None:
    run = make_forecast(meta)
    large = replace(run.tasks[0], name="a_name_as_long_as_they_come", rows=99_999, available=10**7)
    console = Console(width=80, file=io.StringIO())
    run = replace(run, tasks=[large])
    console.print(plan_table(run, notes(run, 64), ["a doubt"], "x.yml"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    assert "10,000,000" in text
    assert ("Meta steps" in text) == (meta is not None)
    assert "warning: a doubt" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, FALLS], ids=["training_losses", "loss_falls"])
def test_the_plan_of_a_recipe_is_what_its_training_does(
    how: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    """A learned mixture that cannot move trains on exactly the rows that were foretold."""
    still = {"learned": {**how, "start_after": 0.1, "entropy_weight": 1e300}}
    # Keys of a GPU recipe, and `auto`, must not need that GPU here.
    config = recipe(tiny, tmp_path / "run", adapt=still)
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump({**config, "bf16": True, "tf32": True}))
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", "plan", str(file), "--json"]
    call += ["--gpu", "24"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)

    train(config, tmp_path / "run")
    report = ledger(tmp_path / "run")
    assert told["memory"]["obstacle"] is None
    assert "It fits a GPU of 24 GiB." in told["notes"][-1]
    assert told["steps"] == report["steps"]
    for task in told["tasks"]:
        drawn = report["tasks"][task["name"]]
        assert task["tokens"] == drawn["tokens"]
        assert task["available"] == drawn["available"]
        assert task["repeats"] == drawn["repeats"]
    assert told["meta"]["steps"] == len(history(tmp_path / "run"))
    assert told["meta"]["measures"] == history(tmp_path / "run")[0]["estimator"]
    assert told["meta"]["tokens"] == pytest.approx(report["meta_tokens"], rel=0.2)
