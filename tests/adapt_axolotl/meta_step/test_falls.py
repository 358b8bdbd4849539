"""Meta steps by falls of losses on a small model, without Axolotl."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.falls import FallLearner, FallSettings
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learned import ENTROPY_WEIGHT, LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model

SETTINGS = FallSettings(steps=(3, 6, 9, 12), rows_per_task=5, seed=0)


def make_learner(
    model: torch.nn.Module, *, poisoned: int | None = None, ranks: Ranks | None = None
) -> FallLearner:
    return FallLearner(
        LearnedMixture(TASKS, objective("mean")),
        model,
        make_measuring_rows(2, poisoned),
        SETTINGS,
        ranks or Ranks(),
        lambda: evaluation_mode(model),
    )


def shrink(model: torch.nn.Module) -> None:
    """Some other weights, as training leaves them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.97)


def test_it_is_due_at_its_steps_whatever_was_spent() -> None:
    learner = make_learner(make_model("llama"))
    assert [step for step in range(20) if learner.due(step, 0.0)] == [3, 6, 9, 12]
    first = set(learner.rows(3).tolist())
    learner.begin(3)
    assert first < set(learner.rows(6).tolist())  # again, and new ones
    assert learner.tokens(6) > 0


def test_the_falls_are_differences_of_the_same_rows() -> None:
    """Against a loop over single rows: falls and their errors, 1e-5 relative. In float64, because
    they are small differences of losses."""
    model = make_model("llama").double()
    learner = make_learner(model)
    source = make_measuring_rows(2)
    rows = learner.rows(3)

    def literal() -> np.ndarray:
        with torch.no_grad(), evaluation_mode(model):
            found = []
            for row in rows:
                (batch,) = source.batches(np.array([row]))
                sums, tokens = row_losses(model, batch)
                found.append((float(sums), int(tokens)))
        return np.array(found)

    before = literal()
    first = learner.begin(3).finish()
    assert np.isnan(first.returns).all()
    shrink(model)
    after = literal()
    taken: dict[str, np.ndarray] = {}

    def keep(falls: np.ndarray, errors: np.ndarray, *, step: int) -> None:
        taken.update(falls=falls, errors=errors)

    learner.mixture.update_by_falls = keep  # type: ignore[method-assign, assignment]
    begun = learner.begin(6)
    with pytest.raises(AttributeError):  # nothing to compare over the processes
        begun.finish()
    for k in range(3):
        own = source.tasks(rows) == k
        falls = (before - after)[own, 0]
        tokens = before[own, 1]
        fall = falls.sum() / tokens.sum()
        count = own.sum()
        error = np.sqrt(count / (count - 1) * ((falls - fall * tokens) ** 2).sum()) / tokens.sum()
        assert taken["falls"][k] == pytest.approx(fall, rel=1e-5)
        assert taken["errors"][k] == pytest.approx(error, rel=1e-5)


class OneOfTwo(Ranks):
    """A process of two whose partner's part is added afterwards."""

    def __init__(self, rank: int, parts: list[torch.Tensor]) -> None:
        super().__init__(rank, 2)
        self._parts = parts

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self._parts.append(tensor.clone())
        return tensor


def test_two_processes_measure_the_rows_of_one_between_them() -> None:
    model = make_model("llama")
    parts: list[torch.Tensor] = []
    for rank in range(2):
        make_learner(model, ranks=OneOfTwo(rank, parts)).begin(3)
    whole: list[torch.Tensor] = []

    class Alone(Ranks):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            whole.append(tensor.clone())
            return tensor

    make_learner(model, ranks=Alone()).begin(3)
    assert not ((parts[0][1] > 0) & (parts[1][1] > 0)).any()
    torch.testing.assert_close(parts[0] + parts[1], whole[0], rtol=1e-5, atol=1e-6)


def test_a_restored_learner_goes_on_to_the_bit() -> None:
    model = make_model("llama")
    whole, part = make_learner(model), make_learner(model)
    for number, step in enumerate(SETTINGS.steps):
        if number == 2:
            state = json.loads(json.dumps(part.state_dict(), allow_nan=False))
            part = make_learner(model)
            part.load_state_dict(state)
        updates = [one.begin(step).finish() for one in (whole, part)]
        assert (updates[0].proportions == updates[1].proportions).all()
        shrink(model)
    assert whole.state_dict() == part.state_dict()


def test_a_loss_that_is_not_finite_leaves_its_task_out_and_training_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[60] = torch.nan  # POISON, in rows of task b
    learner = make_learner(model, poisoned=1)
    for step in SETTINGS.steps:
        update = learner.begin(step).finish()
        shrink(model)
    assert np.isfinite(update.proportions).all()
    assert np.isnan(update.returns[1])
    assert "task 'b': its validation loss is nan; it is left out" in caplog.text


def test_measuring_leaves_modes_gradients_and_random_streams_alone() -> None:
    model = make_model("llama")
    model.train()
    state = torch.get_rng_state()
    make_learner(model).begin(3).finish()
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (torch.get_rng_state() == state).all()


def test_every_setting_is_part_of_what_a_resume_compares() -> None:
    found = make_learner(make_model("llama")).fingerprint()
    assert found["meta steps"] == [3, 6, 9, 12]
    assert found["adapt.learned.rows_per_task"] == 5
    assert found["adapt.learned.measure"] == "loss_falls"
    assert found["adapt.learned.rule"] == "evidence"
    assert found["adapt.learned.entropy_weight"] == ENTROPY_WEIGHT
