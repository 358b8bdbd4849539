"""Gradient products of a model that ZeRO-3 shards over two processes, beside those on one.

float32 on both sides, but sums over processes round differently: tolerances as under FSDP2.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils.deepspeed import HfDeepSpeedConfig

from adapt_axolotl.integration import zero3
from adapt_axolotl.integration.zero3 import (
    measured_in_parts,
    refuse_experts_in_lists,
    refuse_other_parts,
)
from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.estimators import ESTIMATORS
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.look_ahead import look_ahead
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import PER_TASK, per_task_scores
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import held_here, trained_parameters
from adapt_axolotl.metagradient.split_batches import SPLIT_BATCHES
from tests.support.by_rows import experts
from tests.support.measured import (
    MODELS,
    TOLERANCE,
    alone,
    assert_as_alone,
    assert_v_is_whole_a_module_at_a_time,
    measure_watched,
)
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_rows, padded, relative_error
from tests.support.two_processes import in_two_processes
from tests.support.zero3 import zero3_engine

# The kind of model, and up to which size DeepSpeed leaves a parameter whole.
CASES = [*((kind, 0) for kind in MODELS), ("qwen3", 100_000)]
WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def measure_sharded(kind: str, keep_whole: int, ranks: Ranks) -> dict[str, Any]:
    engine = zero3_engine(MODELS[kind](), ranks, keep_whole)
    with measured_in_parts(engine):
        return measure_watched(engine.module, ranks)


def train(make: Any, keep_whole: int, measures: bool, ranks: Ranks) -> dict[str, Any]:
    """Three steps of two micro-batches. In the first everything that a meta step could is measured
    between the two; the others are read."""
    engine = zero3_engine(make(), ranks, keep_whole)
    model = engine.module
    losses, scores, expected = [], [], []
    for step in range(3):
        batches = [padded(make_rows(3, 10 * step + n), [0, 1, 2]) for n in (ranks.rank, 2)]
        reader = None
        if measures and step > 0:
            v = _measured(engine, step, ranks)
            parameters = trained_parameters(model)
            with measured_in_parts(engine):
                reference = per_task_scores(
                    model, parameters, batches, v, len(TASKS), reduce=ranks.sum
                )
            expected.append(reference.inner_products)
            reader = BackwardReader(model, parameters, v, len(TASKS), ranks)
        for batch in batches:
            places = batch.labels, batch.row_of_token, batch.task_of_row
            with reader.micro_batch(*places, lambda: 1.0) if reader else nullcontext():
                total = row_losses(engine, batch, whole_logits=True)[0].sum()
                engine.backward(total, scale_wrt_gas=False)
            losses.append(float(total.detach()))
            if measures and step == 0:
                _measured(engine, step, ranks)
            engine.step()
        if reader is not None:
            scores.append(reader.scores().inner_products)
    weights = [held_here(parameter).clone() for parameter in model.parameters()]
    return {"losses": losses, "weights": weights, "scores": scores, "expected": expected}


def _measured(engine: Any, step: int, ranks: Ranks) -> list[torch.Tensor]:
    """v, after what else is measured along it."""

    def batches(seed: int, count: int) -> Any:
        rows = make_measuring_rows(seed)
        return rows.batches(np.arange(count), rank=ranks.rank, ranks=ranks.count)

    model = engine.module
    parameters = trained_parameters(model)
    with measured_in_parts(engine):
        with look_ahead(model, parameters, batches(2, 3), WEIGHTS, 0.05, reduce=ranks.sum):
            v = direction(model, parameters, batches(step, 9), WEIGHTS, reduce=ranks.sum).v
        for one in ESTIMATORS:
            if one.own_rows:
                one.scores(model, parameters, batches(2, 3), v, len(TASKS), reduce=ranks.sum)
    return v


TRAINED = {
    "sharded": (MODELS["qwen3"], 0),
    "left whole": (MODELS["qwen3"], 100_000),
    "lora": (MODELS["lora"], 0),
}


def everything(ranks: Ranks) -> dict[Any, Any]:
    zero3.is_deepspeed_zero3_enabled = lambda: True  # Trainer has not told Transformers of it
    found: dict[Any, Any] = {case: measure_sharded(*case, ranks) for case in CASES}
    for name, (make, keep_whole) in TRAINED.items():
        found[name] = [train(make, keep_whole, measures, ranks) for measures in (False, True)]
    return found


def scores_of_experts(model: Any, ranks: Ranks) -> dict[str, Any]:
    """By the estimators that read experts under ZeRO-3."""
    parameters = trained_parameters(model)
    validation, training = (
        [padded(make_rows(4, seed + rank), [0, 1, 2, 0]) for rank in range(2)] for seed in (9, 3)
    )
    if ranks.count == 2:
        validation, training = [validation[ranks.rank]], [training[ranks.rank]]
    v = direction(model, parameters, validation, WEIGHTS, reduce=ranks.sum).v
    return {
        one.name: one.scores(
            model, parameters, training, v, len(TASKS), reduce=ranks.sum
        ).inner_products
        for one in (SPLIT_BATCHES, FINITE_DIFFERENCE, PER_TASK)
    }


def use_experts(ranks: Ranks) -> tuple[dict[str, Any], list[Any]]:
    """Scores, and weights after training, unread and read, with blocks that DeepSpeed gathers as
    one."""
    zero3.is_deepspeed_zero3_enabled = lambda: True
    engine = zero3_engine(experts(), ranks)
    assert any(getattr(module, "_z3_leaf", False) for module in engine.module.modules())
    with measured_in_parts(engine):
        scores = scores_of_experts(engine.module, ranks)
    found = []
    for measures in (False, True):
        engine = zero3_engine(experts(), ranks)
        for number in range(4):
            if measures:
                _measured(engine, number // 2, ranks)
            batch = padded(make_rows(3, number), [0, 1, 2])
            engine.backward(
                row_losses(engine, batch, whole_logits=True)[0].sum(), scale_wrt_gas=False
            )
            engine.step()
        found.append([held_here(parameter).clone() for parameter in engine.module.parameters()])
    return scores, found


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"offload_param": {"device": "nvme"}}, "offload_param.device: nvme"),
        ({"zero_hpz_partition_size": 8}, "zero_hpz_partition_size: 8"),
        ({"mics_shard_size": 4}, "mics_shard_size: 4"),
        ({"offload_param": {"device": "cpu"}, "mics_shard_size": -1}, None),
        ({}, None),
    ],
)
def test_parts_that_are_not_in_memory_or_are_kept_twice_are_refused(
    options: dict[str, Any], key: str | None
) -> None:
    config = HfDeepSpeedConfig({"zero_optimization": {"stage": 3, **options}})
    if key is None:
        refuse_other_parts(config)
        return
    with pytest.raises(ValueError, match=f"deepspeed: zero_optimization.{key} keeps"):
        refuse_other_parts(config)


class ListedExperts(torch.nn.Module):
    """Experts that are modules of their own, beside a list of other modules."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.experts = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
        self.experts.requires_grad_(trained)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4)])


def test_trained_experts_in_a_list_are_refused() -> None:
    """Layers in a list, frozen experts, and experts whose weights are one are not."""
    with pytest.raises(ValueError, match=r"gradient of each of experts .* set stage: 2"):
        refuse_experts_in_lists(ListedExperts(trained=True))
    for model in (ListedExperts(trained=False), experts()):
        refuse_experts_in_lists(model)


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    return in_two_processes(everything, tmp_path_factory.mktemp("zero3"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_sharded_model_gives_v_and_scores_of_a_whole_one(case: Any, on_two: Any) -> None:
    expected = alone(case[0])
    for found in (one[case] for one in on_two):
        for key in ("v", "ahead"):
            assert relative_error(found[key], [part.flatten() for part in expected[key]]) < 1e-5
        assert_as_alone(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_v_stays_sharded_and_one_modules_part_is_whole_at_a_time(case: Any, on_two: Any) -> None:
    assert_v_is_whole_a_module_at_a_time([one[case] for one in on_two], case[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_training_that_is_measured_and_read_is_the_same_to_the_bit(name: str, on_two: Any) -> None:
    for one in on_two:
        unread, read = one[name]
        assert read["losses"] == unread["losses"]
        for found, expected in zip(read["weights"], unread["weights"], strict=True):
            assert torch.equal(found, expected)
        assert len(read["scores"]) == 2
        assert relative_error(read["scores"], read["expected"]) < 1e-5


@pytest.mark.slow
def test_blocks_that_are_gathered_as_one_are_measured_as_whole_and_train_as_unmeasured(
    tmp_path: Any,
) -> None:
    expected_scores = scores_of_experts(experts(), Ranks())
    for scores, (unread, read) in in_two_processes(use_experts, tmp_path):
        for name, expected in expected_scores.items():
            assert relative_error(scores[name], expected) < TOLERANCE[name], name
        for found, expected in zip(read, unread, strict=True):
            assert torch.equal(found, expected)
