"""Learning from the losses of training rows, without Axolotl."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from adapt_axolotl.meta_step.training_losses import CurveLearner, CurveSettings
from adapt_axolotl.metagradient.losses import row_losses, row_losses_of
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.bounds import Bounds
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.learning_curves import row_moments
from adapt_axolotl.mixture.objectives.named import objective
from tests.support.measuring_rows import TASKS
from tests.support.models import make_model, make_rows, packed, padded

ALL_NEW = np.ones(3, dtype=bool)
BUDGET = 20_000


def make_learner(
    start_after: float = 0.05,
    ranks: Ranks | None = None,
    *,
    held_out: Any = None,
    bounds: Bounds | None = None,
) -> CurveLearner:
    over = None if bounds is None else np.isnan(bounds.bounds).tolist()
    mixture = LearnedMixture(TASKS, objective("mean", targets=over), bounds=bounds)
    mixture.observe(np.full(3, 3.0))
    settings, ranks = CurveSettings(start_after), ranks or Ranks()
    return CurveLearner(mixture, settings, ranks, torch.device("cpu"), held_out)


def losses(step: int, rank: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tasks, sums, tokens) of the rows of a step; task a falls fastest, c not at all."""
    rng = np.random.default_rng([step, rank])
    tasks, tokens = np.arange(12) % 3, rng.integers(4, 12, size=12)
    means = 6 - np.array([0.6, 0.3, 0.0])[tasks] * np.log(1 + step) + 0.1 * rng.normal(size=12)
    return tasks, means * tokens, tokens


def tokens_after(step: int) -> np.ndarray:
    """(3,) trained on with step `step`, about as many as its rows have."""
    return np.full(3, 100 * (step + 1) / 3)


def one_step(learner: CurveLearner, step: int, new: np.ndarray = ALL_NEW) -> bool:
    """Gives whether the mixture moved."""
    trained = tokens_after(step)
    begun = learner.begin(step) if learner.due(step, step * 100 / BUDGET) else None
    learner.take_rows(*losses(step))
    learner.end_step(trained, trained.sum() / BUDGET, new)
    if begun is not None:
        begun.finish()
    return begun is not None


def test_the_mixture_moves_whenever_the_tokens_have_grown_by_a_part() -> None:
    learner = make_learner()
    moved = [step for step in range(200) if one_step(learner, step)]
    # From 5 % of 200 steps on, each after 15 % more; four stretches make the first line.
    assert moved[0] / 200 == pytest.approx(0.05 * 1.15**4, abs=0.02)
    assert len(moved) == pytest.approx(np.log(200 / moved[0]) / np.log(1.15), abs=3)
    shares = learner.mixture.proportions
    assert shares[0] > shares[1] > shares[2]
    assert learner.tokens(0) == 0


def test_a_bound_goes_by_the_loss_that_its_task_would_end_with() -> None:
    """Task a falls to 6 - .6 log 200 = 2.8, and is above 3.2 until step 110."""
    nothing = float("nan")
    for bound, kept in ((3.2, True), (2.0, False)):
        bounds = Bounds([bound, nothing, nothing])
        learner = make_learner(bounds=bounds)
        moved = [step for step in range(100) if one_step(learner, step)]
        assert len(moved) > 10
        assert (bounds.multipliers[0] < 0.5) == kept
        state = json.loads(json.dumps(learner.state_dict(), allow_nan=False))
        other = make_learner(bounds=Bounds([bound, nothing, nothing]))
        other.load_state_dict(state)
        for step in range(100, 150):
            assert one_step(learner, step) == one_step(other, step)
        assert other.state_dict() == learner.state_dict()


def test_rows_seen_before_are_left_out() -> None:
    """Task a has no new rows from step 60 on: what its old ones do then says nothing."""
    some_new = np.array([False, True, True])
    learner, other = make_learner(), make_learner()
    for step in range(200):
        one_step(learner, step, ALL_NEW if step < 60 else some_new)
        tasks, sums, tokens = losses(step)
        if step >= 60:
            sums = np.where(tasks == 0, 0.0, sums)  # remembered by heart
        begun = other.begin(step) if other.due(step, 0.5) else None
        other.take_rows(tasks, sums, tokens)
        trained = tokens_after(step)
        other.end_step(trained, trained.sum() / BUDGET, ALL_NEW if step < 60 else some_new)
        if begun is not None:
            begun.finish()
    assert (learner.mixture.proportions == other.mixture.proportions).all()


def test_a_task_without_new_rows_grows_older_and_without_any_the_mixture_rests() -> None:
    """Task a has none from step 60 on, no task has any from step 120 on."""
    learner = make_learner()
    ages, moved = [], []
    for step in range(300):
        new = ALL_NEW if step < 60 else np.array([False, step < 120, step < 120])
        begun = learner.begin(step) if learner.due(step, step * 100 / BUDGET) else None
        learner.take_rows(*losses(step))
        learner.end_step(tokens_after(step), step * 100 / BUDGET, new)
        if begun is not None:
            ages.append(begun.finish().ages.tolist())
            moved.append(step)
    assert [0, 0, 0] in ages
    assert ages[-1][0] > 2
    assert ages[-1][1:] == [0, 0]
    # What the last new rows said is taken in once, when their interval has ended.
    assert 120 <= moved[-1] < 120 * 1.15 + 1


class Remembered:
    """In the place of `HeldOut`: ten validation rows of each task, whose losses fall no more for
    task a and rise for none."""

    def tokens(self, old: np.ndarray, trained: np.ndarray) -> int:
        return 80 * int(old.sum())

    def moments(self, old: np.ndarray, trained: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(int(trained.sum()))
        rows = np.repeat(np.flatnonzero(old), 10)
        tokens = rng.integers(4, 12, size=len(rows))
        level = np.where(rows == 0, 2.0, 6 - 0.3 * np.log(trained.sum() / 100))
        return row_moments(rows, (level + 0.1 * rng.normal(size=len(rows))) * tokens, tokens, 3)

    def state_dict(self) -> None:
        """It keeps nothing."""

    def load_state_dict(self, state: None) -> None:
        assert state is None


def test_tasks_without_new_rows_are_told_from_validation_rows() -> None:
    """Task a falls fastest while it has new rows, and no more from then on."""
    some_new = np.array([False, True, True])
    learner = make_learner(held_out=Remembered())
    shares = []
    for step in range(200):
        one_step(learner, step, ALL_NEW if step < 60 else some_new)
        if step in (50, 70, 199):
            shares.append(learner.mixture.proportions)
    assert shares[0].argmax() == 0
    # Too few of them for a line of their own: its last new rows count.
    assert shares[1].argmax() == 0
    assert shares[2].argmin() == 0
    assert learner.tokens(200) == 80


def test_the_mixture_goes_on_learning_when_no_task_has_new_rows() -> None:
    learner = make_learner(held_out=Remembered())
    moved = [step for step in range(300) if one_step(learner, step, np.full(3, step < 60))]
    assert moved[-1] > 250
    assert learner.mixture.proportions.argmin() == 0


class OneOfTwo(Ranks):
    """A process of two; what the other one has is added."""

    def __init__(self, others: list[torch.Tensor]) -> None:
        super().__init__(0, 1)
        self._others = others

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + self._others.pop(0)


def test_two_processes_learn_from_the_rows_of_both() -> None:
    class Recording(Ranks):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            seen.append(tensor.clone())
            return tensor

    seen: list[torch.Tensor] = []
    second = make_learner(0.0, Recording())
    for step in range(60):
        second.take_rows(*losses(step, rank=1))
        second.end_step(tokens_after(step), 0.5, ALL_NEW)
    first, both = make_learner(0.0, OneOfTwo(seen)), make_learner(0.0)
    for step in range(60):
        for learner in (first, both):
            learner.take_rows(*losses(step))
        both.take_rows(*losses(step, rank=1))
        updates = []
        for learner in (first, both):
            begun = learner.begin(step) if learner.due(step, 0.5) else None
            learner.end_step(tokens_after(step), 0.5, ALL_NEW)
            updates.append(None if begun is None else begun.finish().proportions)
        assert (updates[0] is None) == (updates[1] is None)
        if updates[0] is not None:
            np.testing.assert_allclose(updates[0], updates[1], rtol=1e-9)


@pytest.mark.parametrize("stop", [77, 120])
def test_a_restored_learner_goes_on_to_the_bit(stop: int) -> None:
    """With new rows of all tasks, and when task a has none left."""
    whole, part = make_learner(held_out=Remembered()), make_learner(held_out=Remembered())
    for step in range(150):
        if step == stop:
            state = json.loads(json.dumps(part.state_dict(), allow_nan=False))
            part = make_learner(held_out=Remembered())
            part.load_state_dict(state)
        new = np.array([step < 80, True, True])
        assert one_step(whole, step, new) == one_step(part, step, new)
        assert (whole.mixture.proportions == part.mixture.proportions).all()
    assert whole.state_dict() == part.state_dict()


def test_a_loss_that_is_not_finite_leaves_its_task_out_of_the_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    learner = make_learner()
    for step in range(100):
        tasks, sums, tokens = losses(step)
        sums[1] = np.nan if step == 30 else sums[1]
        begun = learner.begin(step) if learner.due(step, 0.5) else None
        learner.take_rows(tasks, sums, tokens)
        learner.end_step(tokens_after(step), 0.5, ALL_NEW)
        update = None if begun is None else begun.finish()
    assert update is None or np.isfinite(update.proportions).all()
    assert np.isfinite(learner.mixture.proportions).all()
    assert caplog.text.count("task 'b': the loss of some of its rows is not finite") == 1


def test_every_setting_is_part_of_what_a_resume_compares() -> None:
    found = make_learner(0.07).fingerprint()
    assert found["adapt.learned.measure"] == "training_losses"
    assert found["adapt.learned.start_after"] == 0.07


@pytest.mark.parametrize("batch", [padded, packed])
@pytest.mark.parametrize("chunk", [1, 2**25])
def test_losses_of_rows_are_those_of_a_forward_of_their_own(
    batch, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-5 relative, padded and packed, in one chunk of logits and in many."""
    monkeypatch.setattr("adapt_axolotl.metagradient.head_loss.CHUNK", chunk)
    model = make_model("llama")
    rows = batch(make_rows(6, 0), [0, 1, 2, 0, 1, 2])
    sums, tokens = row_losses(model, rows, whole_logits=True)
    sums = sums.detach()
    found, counted = row_losses_of(model(**rows.inputs).logits, rows)
    torch.testing.assert_close(found, sums, rtol=1e-5, atol=1e-5)
    assert counted.tolist() == tokens.tolist()
    assert not found.requires_grad
    states = model.get_decoder()(**rows.inputs).last_hidden_state
    by_head, _ = row_losses_of(states, rows, model.get_output_embeddings())
    torch.testing.assert_close(by_head, sums, rtol=1e-5, atol=1e-5)
