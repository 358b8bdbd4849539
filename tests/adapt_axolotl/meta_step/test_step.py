"""One meta step on a small model, without Axolotl."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.learner import MetaLearner, MetaSettings
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import PER_TASK, per_task_scores
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.bounds import MOST, Bounds
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from tests.support.measuring_rows import POISON, TASKS, make_measuring_rows
from tests.support.models import make_model, make_rows, packed, padded, trained


def make_learner(
    model,
    *estimators: Estimator,
    poisoned: int | None = None,
    look_ahead: bool = False,
    tasks_at_once: int = 3,
    targets: list[bool] | None = None,
    read_steps: int = 1,
    over: str = "relative",
    bounds: Bounds | None = None,
):
    settings = MetaSettings(
        update_every=5,
        start_after=0.1,
        rows_per_task=3,
        tasks_at_once=tasks_at_once,
        look_ahead=look_ahead,
        estimators=estimators,
        seed=0,
        read_steps=read_steps,
    )
    return MetaLearner(
        LearnedMixture(
            TASKS, objective(over, targets=targets), bounds=bounds, steps=GradientSteps()
        ),
        model,
        make_measuring_rows(1),
        make_measuring_rows(2, poisoned),
        settings,
        Ranks(),
        lambda: 0.01,
        lambda: evaluation_mode(model),
    )


def test_it_is_due_after_the_start_and_then_at_its_interval() -> None:
    learner = make_learner(make_model("llama"), PER_TASK)
    assert not learner.due(5, 0.05)
    assert learner.due(5, 0.1)
    assert not learner.due(6, 0.5)


@pytest.mark.parametrize("look_ahead", [False, True])
def test_estimators_give_one_mixture(look_ahead: bool) -> None:
    shares = {}
    for estimator in (PER_TASK, FINITE_DIFFERENCE):
        learner = make_learner(make_model("llama"), estimator, PER_TASK, look_ahead=look_ahead)
        update = learner.begin(0).finish()
        assert learner.estimator is estimator
        shares[estimator.name] = update.scores
    scale = np.abs(shares["per_task"]).max()
    assert np.abs(shares["finite_difference"] - shares["per_task"]).max() < 5e-3 * scale


@pytest.mark.parametrize("steps", [1, 2])
def test_in_backward_reads_the_scores_of_the_training_rows_of_its_steps(steps: int) -> None:
    model = make_model("qwen3")
    learner = make_learner(model, IN_BACKWARD, PER_TASK, read_steps=steps)
    meta_step = learner.begin(0)
    batches = [padded(make_rows(6, 9 + step), [0, 1, 2, 0, 1, 0]) for step in range(steps)]
    for step, batch in enumerate(batches):
        assert meta_step.reading
        weight = 0.25 + step
        with meta_step.training_backward(
            batch.labels, batch.row_of_token, batch.task_of_row, lambda weight=weight: weight
        ):
            (weight * row_losses(model, batch, whole_logits=True)[0].sum()).backward()
        assert meta_step.goes_on(step) == (step < steps - 1)
    update = meta_step.finish()
    assert not meta_step.reading

    twin = make_model("qwen3")
    other = make_learner(twin, PER_TASK)
    rows, _ = other.rows(0)
    v = other._observe(rows, [])
    expected = per_task_scores(twin, trained(twin), batches, v, 3).inner_products.numpy()
    assert np.abs(-update.scores - expected).max() < 1e-4 * np.abs(expected).max()


def test_an_estimator_that_does_not_fit_is_replaced_and_this_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("llama")
    mlp = model.model.layers[0].mlp
    weight = mlp.up_proj.weight
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * (x @ weight.T))
    learner = make_learner(model, IN_BACKWARD, FINITE_DIFFERENCE, PER_TASK)
    asked, rows = [], learner.rows
    monkeypatch.setattr(learner, "rows", lambda number: asked.append(number) or rows(number))
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        step = learner.begin(0)
    assert learner.estimator == FINITE_DIFFERENCE
    assert "in_backward does not fit this model" in caplog.text
    # The rows that it wants were not booked for this step: they are read from the next one on.
    assert np.isnan(step.finish().scores).all()
    assert asked == [0]
    assert np.isfinite(learner.begin(5).finish().scores).all()


def test_what_takes_over_in_training_is_checked_too(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model("llama")
    learner = make_learner(model, IN_BACKWARD, FINITE_DIFFERENCE, PER_TASK)
    step = learner.begin(0)
    batch = padded(make_rows(6, 9), [0, 1, 2, 0, 1, 0])
    with step.training_backward(batch.labels, batch.row_of_token, batch.task_of_row, lambda: 1.0):
        states = model.model(**batch.inputs).last_hidden_state
        (states @ model.lm_head.weight.T).logsumexp(-1).sum().backward()
    step.finish()
    with caplog.at_level("INFO", logger="axolotl.adapt"):
        step = learner.begin(5)
    assert "task scores by finite_difference: agrees" in caplog.text


def test_a_resumed_meta_step_keeps_its_estimator_without_another_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = make_learner(make_model("llama"), IN_BACKWARD, FINITE_DIFFERENCE)
    learner.begin(0)
    other = make_learner(make_model("llama"), IN_BACKWARD, FINITE_DIFFERENCE)
    other.load_state_dict(learner.state_dict())
    check = "adapt_axolotl.meta_step.choice.check_estimator"
    monkeypatch.setattr(check, lambda *_, **__: pytest.fail("checked again"))
    assert other.begin(5).reading


def test_a_resume_on_other_hardware_checks_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learner = make_learner(make_model("llama"), FINITE_DIFFERENCE, PER_TASK)
    learner.begin(0)
    state = learner.state_dict()
    monkeypatch.setattr("adapt_axolotl.meta_step.choice._hardware", lambda device: "another GPU")
    other = make_learner(make_model("llama"), FINITE_DIFFERENCE, PER_TASK)
    other.load_state_dict(state)
    caplog.clear()
    with caplog.at_level("INFO", logger="axolotl.adapt"):
        other.begin(5).finish()
        other.begin(10).finish()
    assert caplog.text.count("checked again on another GPU") == 1
    assert caplog.text.count("agrees with one backward a task") == 1


def test_every_learning_setting_is_part_of_what_a_resume_compares() -> None:
    learner = make_learner(make_model("llama"), PER_TASK)
    mixture = LearnedMixture(
        TASKS, objective("paper", beta=2.0), steps=GradientSteps(step_size=0.3), floor=0.2
    )
    found = learner.fingerprint()
    changed = {key for key, value in mixture.fingerprint().items() if found[key] != value}
    assert changed == {
        "adapt.learned.objective",
        "adapt.learned.beta",
        "adapt.learned.step_size",
        "adapt.floor",
    }
    assert found["adapt.learned.update_every"] == 5


def test_packed_rows_that_learn_from_each_other_are_not_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("qwen3")
    learner = make_learner(model, IN_BACKWARD, FINITE_DIFFERENCE)
    step = learner.begin(0)
    batch = packed(make_rows(6, 9), [0, 1, 2, 0, 1, 0])
    labels = batch.inputs["input_ids"].clone()  # every token, the first of a row too
    with step.training_backward(labels, batch.row_of_token, batch.task_of_row, lambda: 1.0):
        model(**batch.inputs, labels=labels).loss.backward()
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        step.finish()
    assert "packed rows whose first token is supervised" in caplog.text


def test_gradients_that_are_not_finite_leave_a_meta_step_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("llama")
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x) + (x * 0).abs().sqrt()  # 0, but its gradient is NaN
    learner = make_learner(model, IN_BACKWARD, FINITE_DIFFERENCE, PER_TASK)
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        step = learner.begin(0)
    assert not step.reading
    assert (step.finish().proportions == 1 / 3).all()
    assert "are not finite; this meta step is left out" in caplog.text
    mlp.forward = forward
    step = learner.begin(5)
    assert step.reading


class OtherRanks(Ranks):
    """Another process whose backward went around a module."""

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + 1 if tensor.dim() == 0 and self.count == 2 else tensor


@pytest.mark.parametrize("here", [True, False])
def test_a_module_that_is_bypassed_in_training_ends_reading_on_all_processes(
    here: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model("qwen3")
    learner = make_learner(model, IN_BACKWARD, FINITE_DIFFERENCE, read_steps=2)
    step = learner.begin(0)
    step.reader._ranks = OtherRanks(0, 1 if here else 2)
    batch = padded(make_rows(6, 9), [0, 1, 2, 0, 1, 0])
    micro_batches = 0
    while step.reading and micro_batches < 2:
        micro_batches += 1
        with step.training_backward(
            batch.labels, batch.row_of_token, batch.task_of_row, lambda: 1.0
        ):
            states = model.model(**batch.inputs).last_hidden_state
            logits = states @ model.lm_head.weight.T if here else model.lm_head(states)
            logits.logsumexp(-1).sum().backward()
    assert micro_batches == (1 if here else 2)
    # All ranks end it with the same step, also the one that reads no more.
    assert step.goes_on(0)
    assert not step.goes_on(1)
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        update = step.finish()
    assert learner.estimator == FINITE_DIFFERENCE
    assert ("such as lm_head" if here else "another process could not read") in caplog.text
    assert np.isnan(update.scores).all()
    assert (update.proportions == 1 / 3).all()


def test_a_nan_validation_loss_leaves_its_task_out_and_training_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("llama", tie_word_embeddings=False)
    with torch.no_grad():
        model.model.embed_tokens.weight[POISON] = torch.nan
    learner = make_learner(model, FINITE_DIFFERENCE, PER_TASK, poisoned=1)
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        step = learner.begin(0)
    # theta itself holds the NaN here, so the finite difference is refused by its check.
    update = step.finish()
    assert "task 'b': its validation loss is nan" in caplog.text
    assert learner.mixture.losses.skipped.tolist() == [0, 1, 0]
    assert np.isnan(update.validation_losses[1])
    assert np.isfinite(update.validation_losses[[0, 2]]).all()
    assert np.isfinite(update.proportions).all()


def test_measuring_leaves_modes_and_random_streams_alone() -> None:
    model = make_model("llama").train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    learner = make_learner(model, FINITE_DIFFERENCE, PER_TASK)
    learner.begin(0).finish()
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_are_a_function_of_the_step_and_new_at_each() -> None:
    one, other = (
        make_learner(make_model("llama"), PER_TASK),
        make_learner(make_model("llama"), PER_TASK),
    )
    one.begin(0)
    assert all((a == b).all() for a, b in zip(one.rows(5), other.rows(5), strict=True))
    assert any((a != b).any() for a, b in zip(one.rows(5), one.rows(10), strict=True))


def test_tasks_take_turns_and_the_others_keep_their_loss() -> None:
    learner = make_learner(make_model("llama"), PER_TASK, tasks_at_once=2)
    learner.mixture.observe(np.array([9.0, 9.0, 9.0]))
    read = []
    for step in (0, 5):
        losses = learner.begin(step).finish().validation_losses
        read.append(set(np.flatnonzero(losses != 9.0)))
    assert [len(tasks) for tasks in read] == [2, 3]
    assert learner.mixture.losses.skipped.tolist() == [0, 0, 0]


def test_validation_rows_are_of_the_tasks_that_count() -> None:
    targets = [task == TASKS[1] for task in TASKS]
    learner = make_learner(make_model("llama"), IN_BACKWARD, targets=targets)
    for step in (0, 5, 10):
        validation, _ = learner.rows(step)
        assert set(make_measuring_rows(2).tasks(validation)) == {1}
        assert len(validation) == 3


def test_validation_rows_are_also_of_tasks_with_bounds_which_count_by_their_multiplier() -> None:
    nothing = float("nan")
    bounds = Bounds([0.1, nothing, nothing])
    targets = [False, True, False]
    learner = make_learner(make_model("llama"), PER_TASK, targets=targets, bounds=bounds)
    validation, _ = learner.rows(5)
    assert set(make_measuring_rows(2).tasks(validation)) == {0, 1}
    learner.begin(0).finish()
    learner.begin(5).finish()
    assert learner.mixture.weights[0] == pytest.approx(MOST / 0.1)
    assert learner.mixture.weights[1] > 0
    update = learner.begin(10).finish()
    assert np.isfinite(update.scores).all()
    assert update.multipliers[0] == MOST


def test_a_turn_of_tasks_without_weight_measures_nothing() -> None:
    """The worst third is one task; where the turn is not its own, v would be 0."""
    learner = make_learner(make_model("llama"), PER_TASK, tasks_at_once=1, over="cvar")
    learner.mixture.observe(np.array([1.0, 1.0, 1.0]))
    learner.mixture.observe(np.array([0.5, 99.0, 0.5]))
    for step in range(0, 60, 5):
        weight = learner.mixture.weights
        validation, _ = learner.rows(step)
        turn = set(make_measuring_rows(2).tasks(validation))
        scores = learner.begin(step).scores
        if not weight[list(turn)].any():
            assert scores is None
            return
    raise AssertionError("no turn without the worst task")


def test_a_meta_step_goes_through_its_validation_rows_once() -> None:
    model = make_model("llama")
    learner = make_learner(model, PER_TASK)
    rows = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    learner.begin(0)
    validation, training = learner.rows(0)
    assert sum(rows) == len(validation) + len(training)
