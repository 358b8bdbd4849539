"""The state beside the model: estimates, accounts, records, refusals to resume."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from transformers import get_scheduler

from adapt_axolotl.budget.lr_schedule import follow_budget
from adapt_axolotl.commands.show import comparison, markdown_table
from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.records.write import RunDirectory
from adapt_axolotl.run.checkpoint import read_checkpoint, set_incomplete_checkpoints_aside
from adapt_axolotl.run.plan import Estimate
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape
from adapt_common.run_records import read_history
from tests.support.plain_runs import make_plan, make_pools, train


def make_run(folder: Path | None = None, **changes) -> AdaptRun:
    directory = None if folder is None else RunDirectory(folder, {"seed": 0}, "seed: 0\n")
    losses = iter([np.array([3.0, 2.0, np.nan]), np.array([1.0, 1.5, 2.0])])
    return AdaptRun(make_plan(**changes), None, lambda rows: next(losses), directory)


@pytest.mark.parametrize("budget", [600, 5000, 20_000])
@pytest.mark.parametrize("bin_tokens", [None, 128])
def test_the_estimate_is_near_the_steps_taken(budget: int, bin_tokens: int | None) -> None:
    changes = {"budget": budget, "shape": BlockShape(2, 4, bin_tokens)}
    run = make_run(**changes)
    run.start()
    assert train(run) == pytest.approx(make_plan(**changes).estimate().steps, rel=0.15, abs=1)


def test_a_budget_below_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"adapt\.token_budget: 5 supervised tokens are fewer"):
        make_plan(budget=5).estimate()


def test_several_passes_over_the_data_are_one_budget() -> None:
    available = int(make_plan().pools.available_tokens.sum())
    run = make_run(budget=3 * available)
    run.start()
    train(run)
    run.finish()
    report = run.ledger.report()
    longest = int(run.plan.pools.supervised_tokens.max())
    assert 3 * available - 8 * longest < report["used"] <= 3 * available
    assert run.progress == pytest.approx(1, abs=0.02)
    passes = [task["repeats"] for task in report["tasks"].values()]
    assert max(passes) > 3 > min(passes)  # by the mixture, not by the size


def test_rows_that_end_before_the_budget_are_told_and_end_the_schedule(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes = {"budget": 60_000, "max_repeats": 2.0}
    run = make_run(**changes)
    run._directory = RecordsNothing()
    run.start()
    steps = train(run)
    assert steps == pytest.approx(make_plan(**changes).estimate().steps, rel=0.15)
    # The learning rate follows this, so it decays to its end all the same.
    assert run.progress == pytest.approx(1, abs=0.05)
    run.finish()
    assert "every task has reached adapt.max_repeats: 2, so" in caplog.text
    assert f"{run.ledger.used:,} of 60,000 supervised tokens" in caplog.text


class RecordsNothing:
    def begin(self, steps: int) -> None: ...

    def append_history(self, line: object) -> None: ...

    def end(self, records: object) -> None: ...


def test_max_steps_ends_a_run_before_its_budget() -> None:
    run = make_run(max_steps=3)
    run.start()
    assert train(run) == 3
    assert run.ledger.used < 5000
    # The learning rate ends with the run, and meta steps begin in it.
    assert run.progress == 1.0


def test_records_are_whole_and_a_resumed_run_cuts_what_it_does_again(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole")
    whole.start()
    train(whole)
    whole.finish()

    killed = make_run(tmp_path / "killed")
    killed.start()
    train(killed, stop=5)
    state = json.loads(json.dumps(killed.state_dict()))
    train(killed, stop=8, begin=5)
    with (tmp_path / "killed" / "adapt" / "history.jsonl").open("a") as file:
        file.write('{"step": 9, "tok')  # killed while writing

    resumed = make_run(tmp_path / "killed")
    resumed._measure(1)  # skipped: the first losses come from the checkpoint
    resumed.load_state_dict(state)
    resumed.start()
    train(resumed, begin=5)
    resumed.finish()
    for name in ("ledger.json", "history.jsonl", "mixture.json"):
        texts = [(tmp_path / run / "adapt" / name).read_text() for run in ("whole", "killed")]
        assert texts[0] == texts[1]
    assert len(read_history(tmp_path / "whole")) == whole.ledger.steps
    report = json.loads((tmp_path / "whole" / "adapt" / "ledger.json").read_text())
    assert report["tasks"]["c"]["first_validation_loss"] is None
    assert report["tasks"]["c"]["last_validation_loss"] == 2.0


@pytest.mark.parametrize(("steps", "rows"), [(10, 4.0), (250, 64.0), (10_000, 16.0)])
@pytest.mark.parametrize("num_tasks", [3, 1000])
def test_first_and_last_losses_take_their_share_of_the_run(
    steps: int, rows: float, num_tasks: int
) -> None:
    pools = replace(make_pools(), tasks=tuple(str(k) for k in range(num_tasks)))
    first, last = make_plan(pools=pools).measured_rows(Estimate(steps, rows))
    assert 1 <= first <= min(32, last)
    for rows_per_task in (first, last):
        forwards = rows_per_task * num_tasks
        # A forward is a third of a training step; one row of each task is read in any case.
        assert forwards / 3 <= max(0.01 * steps * rows, num_tasks / 3)


def test_what_is_measured_is_bounded_and_timed() -> None:
    asked: list[int] = []

    def measure(rows_per_task: int) -> np.ndarray:
        asked.append(rows_per_task)
        return np.ones(3)

    plan = make_plan()
    run = AdaptRun(plan, None, measure, None)
    run.start()
    train(run)
    run.finish()
    assert asked == list(plan.measured_rows(plan.estimate()))
    assert run.seconds["measuring"] > 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"budget": 4000}, "budget: 5000 then, 4000 now"),
        ({"shape": BlockShape(3, 4)}, "micro-batches a step .*: 2 then, 3 now"),
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"max_repeats": 2.0}, "max_repeats: None then, 2.0 now"),
        ({"data_digest": "edited"}, "digest of the rows:  then, edited now"),
    ],
)
def test_a_checkpoint_of_another_stream_is_refused(changes: dict, says: str) -> None:
    run = make_run()
    run.start()
    train(run, stop=2)
    with pytest.raises(ValueError, match=says):
        make_run(**changes).load_state_dict(run.state_dict())


def test_a_checkpoint_of_an_earlier_version_goes_on_and_says_what_it_cannot_check(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = make_run()
    run.start()
    train(run, stop=2)
    state = json.loads(json.dumps(run.state_dict()))
    state["version"] = 1
    del state["fingerprint"]["digest of the rows"]
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        make_run(data_digest="any").load_state_dict(state)
    assert "does not hold the digest of the rows" in caplog.text
    state["fingerprint"]["seed"] = 1
    with pytest.raises(ValueError, match="seed: 1 then, 0 now"):
        make_run().load_state_dict(state)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_learned_checkpoint_of_an_earlier_version_is_refused_and_says_so(version: int) -> None:
    run = make_run()
    run.start()
    train(run, stop=2)
    state = {**run.state_dict(), "version": version, "meta": {"mixture": {}}}
    with pytest.raises(ValueError, match="an earlier version of this package wrote this check"):
        make_run().load_state_dict(state)


@pytest.mark.parametrize("version", [None, 0, 6])
def test_a_checkpoint_of_an_unknown_version_is_refused(version: int | None) -> None:
    run = make_run()
    run.start()
    train(run, stop=2)
    state = {**run.state_dict(), "version": version}
    with pytest.raises(
        ValueError, match=rf"has version {version}, and .* reads 1, 2, 3, 4 and 5; go on"
    ):
        make_run().load_state_dict(state)


def test_the_learning_rate_follows_the_budget_not_the_steps() -> None:
    def optimizer() -> torch.optim.SGD:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)

    by_budget, by_steps = optimizer(), optimizer()
    progress = 0.0
    schedules = [
        get_scheduler("cosine", o, num_warmup_steps=10, num_training_steps=100)
        for o in (by_budget, by_steps)
    ]
    followed = follow_budget(schedules[0], by_budget, 100, lambda: progress)
    assert by_budget.param_groups[0]["lr"] == 0.0
    for step in range(1, 101):
        by_steps.step()
        schedules[1].step()
        if step % 4 == 0:  # a quarter of the steps buys as much
            progress = step / 100
            by_budget.step()
            followed.step()
            rates = [o.param_groups[0]["lr"] for o in (by_budget, by_steps)]
            assert rates[0] == pytest.approx(rates[1], abs=1e-12)
    assert by_budget.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="lr_scheduler: OneCycleLR cannot follow"):
        follow_budget(OneCycleLR(optimizer(), 1.0, 10), optimizer(), 10, lambda: 0.0)


SKIPPED = (0, 1, 5, 12)


def test_a_skipped_step_leaves_its_tokens_to_others_and_a_resume_is_exact() -> None:
    straight, plain, first = make_run(), make_run(), make_run()
    for run in (straight, plain, first):
        run.start()
    steps = train(straight, skipped=SKIPPED)
    assert steps > train(plain)
    report = straight.ledger.report()
    assert report["skipped_tokens"] > 0
    assert report["steps"] == steps
    assert report["used"] <= report["budget"]
    assert report["left"] < 2 * report["used"] / (steps - len(SKIPPED))
    assert straight.average() == pytest.approx(plain.average(), abs=1e-12)

    train(first, stop=12, skipped=SKIPPED)
    resumed = make_run()
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert train(resumed, begin=12, skipped=SKIPPED) == steps
    assert resumed.ledger.report() == report


class WhichAreNew(CurveLearner):
    """Remembers which tasks had new rows in each step."""

    def __init__(self) -> None:
        mixture = LearnedMixture(("a", "b", "c"), objective("worst_case"))
        super().__init__(mixture, CurveSettings(1.0), Ranks(), torch.device("cpu"))
        self.new: list[bool] = []

    def end_step(self, trained: np.ndarray, progress: float, new: np.ndarray) -> None:
        self.new.append(bool(new[1]))


def test_rows_of_skipped_steps_are_not_new_when_they_come_again() -> None:
    """b has 50 rows, of which a step of 8 draws one to three."""
    learner = WhichAreNew()
    run = AdaptRun(make_plan(unit="examples"), learner, lambda rows: np.ones(3), None)
    run.start()
    drawn = []
    skipped = set(range(0, 60, 2))
    step, more = 0, True
    while more and step < 60:
        block = run.sampler.block(step)
        assert block is not None
        drawn.append(int((run.plan.pools.task_of_row[block.rows()] == 1).sum()))
        run.commit_step(step, skipped=step in skipped)
        more = run.end_step(step, record=False)
        step += 1
    first = np.cumsum(drawn) <= 50
    assert learner.new == first.tolist()
    assert 10 < first.sum() < step


def test_progress_stands_still_while_steps_are_skipped() -> None:
    run = make_run()
    run.start()
    train(run, stop=3)
    before = run.progress
    train(run, begin=3, stop=6, skipped=range(3, 6))
    assert run.progress == before


def test_a_run_that_skips_every_step_ends_with_a_sentence() -> None:
    run = make_run()
    run.start()
    with pytest.raises(ValueError, match="fp16: the optimizer has skipped 64 steps in a row"):
        train(run, skipped=range(1000))


def test_half_written_checkpoints_are_set_aside(tmp_path: Path) -> None:
    def checkpoint(step: int, ranks: int = 1) -> Path:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "adapt_state.json").write_text(json.dumps({"ranks": ranks}))
        (folder / "trainer_state.json").write_text("{}")
        (folder / ("rng_state.pth" if ranks == 1 else "rng_state_0.pth")).touch()
        return folder

    whole = checkpoint(10)
    (checkpoint(20) / "trainer_state.json").write_text('{"global_st')
    (checkpoint(30) / "adapt_state.json").unlink()
    checkpoint(40, ranks=2)  # its second rank is missing
    models = [checkpoint(50), checkpoint(60, ranks=2)]
    for model in models:  # as save_only_model leaves them
        next(model.glob("rng_state*")).unlink()
    (tmp_path / "checkpoint-20.incomplete").mkdir()
    names = [folder.name for folder in set_incomplete_checkpoints_aside(tmp_path)]
    assert names == [
        "checkpoint-20.incomplete.2",
        "checkpoint-30.incomplete",
        "checkpoint-40.incomplete",
    ]
    assert whole.is_dir()
    assert read_checkpoint(whole) == {"ranks": 1}
    with pytest.raises(ValueError, match=r"has no adapt_state\.json"):
        read_checkpoint(tmp_path / "checkpoint-30.incomplete")
    for model in models:
        with pytest.raises(ValueError, match="saved with save_only_model"):
            read_checkpoint(model)


def test_the_end_of_an_earlier_run_does_not_pass_for_that_of_a_new_one(tmp_path: Path) -> None:
    for stop in (None, 3):
        run = make_run(tmp_path)
        run.start()
        train(run, stop=stop)
        if stop is None:
            run.finish()
            assert (tmp_path / "adapt" / "ledger.json").is_file()
    left = sorted(file.name for file in (tmp_path / "adapt").iterdir())
    assert left == ["config.yml", "history.jsonl", "recipe.yml"]


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = make_run(tmp_path / name, seed=len(name))
        run.start()
        train(run)
        run.finish()
    runs = [tmp_path / "one", tmp_path / "two"]
    header, rows, _ = comparison(runs)
    assert header[1] == "one: tokens"
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert markdown_table(runs).count("\n") == 1 + 3 + 2
    with pytest.raises(ValueError, match="give the output_dir of a run that has ended"):
        comparison([tmp_path])


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, adapt_axolotl; print('axolotl' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_core_does_not_import_axolotl() -> None:
    modules = [
        "mixture.learned",
        "budget.ledger",
        "sampling.batches",
        "meta_step.learner",
        "run.state",
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(f'adapt_axolotl.{name}')\n"
        "    print(name, 'axolotl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} False" for name in modules]
