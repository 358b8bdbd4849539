"""Inside the real training loop: a step that is split by task trains as one that is not, and its
scores are those that are read off the whole one's backward. float64, to 1e-9 of the largest."""

from __future__ import annotations

import json
import shutil
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from tests.support.launch import PRODUCTS, TASKS, history, recipe
from tests.support.trainers import make_trainer

EXACT = 1e-9


class Gradients(TrainerCallback):
    """The gradient of each optimizer step, and its loss."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any, **_: Any
    ) -> None:
        parts = [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
        self.seen.append(torch.cat(parts))


def trained(
    config: dict[str, Any], folder: Path, *, sums: bool = True, ignores: bool = False
) -> tuple[Any, Gradients]:
    folder.mkdir()
    trainer = make_trainer({**config, "output_dir": str(folder)}, folder)
    trainer.model.double()
    trainer.model_accepts_loss_kwargs = sums or ignores
    if ignores:
        forward = trainer.model.forward

        @wraps(forward)  # Trainer keeps the columns of its signature
        def mean(*args: Any, num_items_in_batch: Any = None, **kwargs: Any) -> Any:
            return forward(*args, **kwargs)

        trainer.model.forward = mean
    gradients = Gradients()
    trainer.add_callback(gradients)
    trainer.train()
    return trainer, gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packed", "side", "sums", "ignores"),
    [
        (False, "right", True, False),
        (False, "left", True, False),
        (True, "right", True, False),
        (True, "left", True, False),
        (False, "right", False, False),  # the loss is the mean over a micro-batch
        (False, "right", False, True),  # also where the model takes the count, and ignores it
    ],
)
def test_a_split_step_trains_as_a_whole_one_and_gives_the_scores_of_its_backward(
    tiny: Path, tmp_path: Path, packed: bool, side: str, sums: bool, ignores: bool
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny / "model", model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": side}))
    runs = {}
    for estimator in ("in_backward", "split_batches"):
        learned = {**PRODUCTS, "update_every": 4, "start_after": 0, "rows_per_task": 4}
        config = recipe(
            tiny,
            tmp_path,
            base_model=str(model),
            pad_to_sequence_len=packed,
            sample_packing=packed,
            micro_batch_size=2 if packed else 8,
            gradient_accumulation_steps=3,
            max_grad_norm=0.0,
            adapt={"token_budget": 600, "learned": {**learned, "estimator": estimator}},
        )
        runs[estimator] = trained(config, tmp_path / estimator, sums=sums, ignores=ignores)
        assert runs[estimator][0].run.learner.estimator.name == estimator
    (_, whole), (trainer, split) = runs["in_backward"], runs["split_batches"]
    assert min(len(split.seen), len(whole.seen)) > 3
    # The first step is read; what follows differs by the rounding of those before it.
    difference = (split.seen[0] - whole.seen[0]).abs().max()
    # The loss is of float32, and so is its product with a part's share of a mean.
    assert difference < (EXACT if sums else 1e-6) * whole.seen[0].abs().max()
    found, expected = (
        np.array([history(tmp_path / name)[0]["scores"][task] for task in TASKS], dtype=float)
        for name in ("split_batches", "in_backward")
    )
    assert np.isfinite(expected).sum() > 3
    assert np.nanmax(np.abs(found - expected)) < 1e-6 * np.nanmax(np.abs(expected))
    losses = [
        [line["loss"] for line in one.state.log_history if "loss" in line]
        for one in (runs["in_backward"][0], trainer)
    ]
    # Later rows follow the mixture, which knows the scores' errors by rows or by parts.
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-6)


@pytest.mark.slow
def test_a_micro_batch_that_cannot_be_split_is_trained_whole_and_another_takes_over(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "the model's pixel_values cannot be cut"
    monkeypatch.setattr("adapt_axolotl.meta_step.split_reader.obstacle_to_cutting", lambda *_: said)
    learned = {**PRODUCTS, "update_every": 4, "start_after": 0, "rows_per_task": 4}
    config = recipe(
        tiny,
        tmp_path,
        adapt={"token_budget": 600, "learned": {**learned, "estimator": "split_batches"}},
    )
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        trainer, _ = trained(config, tmp_path / "run")
    assert f"split_batches does not fit this model ({said}" in caplog.text
    assert trainer.run.learner.estimator.name == "finite_difference"
    assert any(
        np.isfinite(np.array(list(line["scores"].values()), dtype=float)).any()
        for line in history(tmp_path / "run")
    )
