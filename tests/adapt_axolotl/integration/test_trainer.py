"""Inside the real training loop: what in-backward reads is the loop's gradient, and a step that the
optimizer skipped is not booked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import TrainerCallback

from adapt_axolotl.metagradient.in_backward import InBackward
from tests.support.launch import PRODUCTS, TASKS, recipe
from tests.support.trainers import make_trainer


class CompareWithGradient(TrainerCallback):
    """At each meta step: the rows' shares, weighted as in the loss, add up to <v, .grad>.

    `directions` gets each v that is read along.
    """

    def __init__(self, trainer: Any, directions: list[Sequence[torch.Tensor]]) -> None:
        self.run = trainer.run
        self._directions = directions
        self.errors: list[float] = []
        self._read = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = self.run.meta_step
        if step is None or not step.reading:
            return
        self._read = 0.0
        hooks = step.reader._hooks
        collect = hooks.collect

        def recording(loss_weight: float, num_rows: int) -> torch.Tensor:
            products = collect(loss_weight, num_rows)
            self._read += float(products.sum()) * loss_weight
            return products

        hooks.collect = recording

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any, **_: Any
    ) -> None:
        if self.run.meta_step is None or not self.run.meta_step.reading:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        product = sum(
            float((part.double() * p.grad.double()).sum())
            for part, p in zip(self._directions[-1], parameters, strict=True)
        )
        self.errors.append(abs(self._read - product) / abs(product))


@pytest.mark.slow
@pytest.mark.parametrize("side", ["right", "left"])  # of padding, as Gemma's tokenizer has it
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_shares_of_all_rows_add_up_to_the_gradient(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    packed: bool,
    checkpointing: bool,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny / "model", model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": side}))
    directions: list[Sequence[torch.Tensor]] = []
    install = InBackward.__init__

    def remembering(self: InBackward, model: Any, parameters: Any, v: Any, **options: Any) -> None:
        directions.append(v)
        install(self, model, parameters, v, **options)

    monkeypatch.setattr(InBackward, "__init__", remembering)
    config = recipe(
        tiny,
        tmp_path,
        base_model=str(model),
        pad_to_sequence_len=packed,
        sample_packing=packed,
        micro_batch_size=2 if packed else 8,
        gradient_accumulation_steps=3,
        gradient_checkpointing=checkpointing,
        max_grad_norm=0.0,  # clipping would scale .grad
        adapt={
            "token_budget": 1500,
            "learned": {
                **PRODUCTS,
                "update_every": 2,
                "start_after": 0,
                "estimator": "in_backward",
            },
        },
    )
    trainer = make_trainer(config, tmp_path)
    assert trainer.processing_class.padding_side == side
    compare = CompareWithGradient(trainer, directions)
    trainer.add_callback(compare)  # after the run's own, so it begins when the hooks are in
    trainer.train()
    assert len(compare.errors) > 2
    assert max(compare.errors) < 1e-4
    assert trainer.run.learner.estimator.name == "in_backward"


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_the_losses_of_the_rows_add_up_to_the_training_loss(
    tiny: Path, tmp_path: Path, packed: bool
) -> None:
    """The mean of its micro-batches' means is what Trainer logs of a step: 1e-5 relative."""
    config = recipe(
        tiny,
        tmp_path,
        pad_to_sequence_len=packed,
        sample_packing=packed,
        micro_batch_size=2 if packed else 8,
        gradient_accumulation_steps=3,
        adapt={"token_budget": 1500},
    )
    trainer = make_trainer(config, tmp_path)
    curves = trainer.run.learner
    take, taken = curves.take_rows, []

    def take_rows(tasks: np.ndarray, sums: np.ndarray, tokens: np.ndarray) -> None:
        taken.append((sums.sum(), tokens.sum()))
        take(tasks, sums, tokens)

    curves.take_rows = take_rows
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(taken) == 3 * len(logged) > 24
    means = np.array([sums / tokens for sums, tokens in taken]).reshape(-1, 3).mean(axis=1)
    assert means == pytest.approx(logged, rel=1e-5)
    report = json.loads((tmp_path / "adapt" / "ledger.json").read_text())
    assert sum(tokens for _, tokens in taken) == report["used"]


class TokensOfTasks(TrainerCallback):
    """Supervised tokens of each task, trained on by the end of each optimizer step."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.seen = [np.zeros(5, dtype=np.int64)]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seen.append(self._trainer.run.ledger.tokens_of_tasks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packed", "adapt"),
    [
        (False, {"mixture": "uniform", "log_task_losses": True}),
        (True, {"mixture": "uniform", "log_task_losses": True}),
        (True, {"mixture": "learned", "learned": {"start_after": "5%"}}),
        (
            False,
            {
                "mixture": "learned",
                "log_task_losses": True,
                "learned": {**PRODUCTS, "update_every": 2, "estimator": "in_backward"},
            },
        ),
        (
            True,
            {
                "mixture": "learned",
                "log_task_losses": True,
                "learned": {**PRODUCTS, "update_every": 2, "estimator": "split_batches"},
            },
        ),
    ],
    ids=["uniform", "packed", "by_losses", "products", "split"],
)
def test_the_logged_losses_of_the_tasks_add_up_to_the_training_loss(
    tiny: Path, tmp_path: Path, packed: bool, adapt: dict[str, Any]
) -> None:
    """Weighted by the tokens of each task in the step: 1e-4 relative (logs are rounded)."""
    config = recipe(
        tiny,
        tmp_path,
        pad_to_sequence_len=packed,
        sample_packing=packed,
        micro_batch_size=2 if packed else 16,
        gradient_accumulation_steps=1,
        adapt={"token_budget": 1500, **adapt},
    )
    trainer = make_trainer(config, tmp_path)
    tokens = TokensOfTasks(trainer)
    trainer.add_callback(tokens)
    trainer.train()
    logged = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logged) == len(tokens.seen) - 1 > 8
    for line, before, after in zip(logged, tokens.seen, tokens.seen[1:], strict=False):
        of_tasks = [line.get(f"adapt/loss/{task}", np.nan) for task in TASKS]
        trained = after - before
        assert (np.isfinite(of_tasks) == (trained > 0)).all()
        mean = np.nansum(of_tasks * trained) / trained.sum()
        assert mean == pytest.approx(line["loss"], rel=1e-4)


@pytest.mark.slow
def test_no_losses_of_tasks_are_taken_where_none_are_asked_for(tiny: Path, tmp_path: Path) -> None:
    config = recipe(tiny, tmp_path, adapt={"token_budget": 500, "mixture": "uniform"})
    trainer = make_trainer(config, tmp_path)
    trainer.train()
    assert not [key for line in trainer.state.log_history for key in line if "adapt/loss" in key]


class Watch(TrainerCallback):
    """What the ledger and the schedule say after each optimizer step."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.used: list[int] = []
        self.rates: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        ledger = self._trainer.run.ledger
        self.used.append(ledger.used)
        assert ledger.free >= 0  # used, reserved and charged tokens are within the budget
        self.rates.append(self._trainer.lr_scheduler.get_last_lr()[0])


@pytest.mark.slow
def test_a_step_that_the_loss_scaler_skipped_is_not_booked(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(recipe(tiny, tmp_path, adapt={"token_budget": 1500}), tmp_path)
    skipped = (0, 4, 5)
    was_skipped = property(lambda _: trainer.state.global_step in skipped)
    monkeypatch.setattr(Accelerator, "optimizer_step_was_skipped", was_skipped)
    watch = Watch(trainer)
    trainer.add_callback(watch)
    trainer.train()
    report = json.loads((tmp_path / "adapt" / "ledger.json").read_text())
    assert report["skipped_tokens"] > 0
    assert report["used"] == sum(task["tokens"] for task in report["tasks"].values())
    assert 0 <= report["left"] < 150
    before = [0, *watch.used]
    grew = [after > b for b, after in zip(before, watch.used, strict=False)]
    assert grew == [step not in skipped for step in range(len(grew))]
    assert watch.rates[3] == watch.rates[4] == watch.rates[5] > watch.rates[-1]
    assert trainer.state.global_step == report["steps"] == len(grew)
