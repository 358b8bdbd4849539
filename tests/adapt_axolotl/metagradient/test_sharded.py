"""Gradient products of a model that FSDP2 shards over two processes, beside those on one.

float32 on both sides, but sums over processes round differently: v and the scores by a backward
are held to 1e-5 of their largest value, those by a finite difference, which magnifies rounding, to
5e-3.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.metagradient.gradients import gradients_of
from adapt_axolotl.metagradient.in_backward import BypassedModule
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import (
    trained_parameters,
)
from benchmarks.fsdp_modules import shard
from tests.support.measured import (
    MODELS,
    alone,
    assert_as_alone,
    assert_v_is_whole_a_module_at_a_time,
    measure_watched,
)
from tests.support.measuring_rows import TASKS
from tests.support.models import make_model, make_rows, packed, relative_error
from tests.support.two_processes import in_two_processes

# The kind of model, and whether its layers give up their whole parameters after a forward.
CASES = [*((kind, True) for kind in MODELS), ("qwen3", False)]


def measure_sharded(kind: str, reshard_after_forward: bool, ranks: Ranks) -> dict[str, Any]:
    model = MODELS[kind]()
    shard(model, reshard_after_forward)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    return measure_watched(model, ranks)


def read_with_a_failure_on_one_process(ranks: Ranks) -> str:
    """In the first of two micro-batches the first process meets rows that it cannot read."""
    model = make_model("qwen3")
    shard(model)
    parameters = trained_parameters(model)
    v = [torch.ones_like(parameter) for parameter in parameters]
    reader = BackwardReader(model, parameters, v, len(TASKS), ranks)
    for number in range(2):
        batch = packed(make_rows(3, number), [0, 1, 2])
        labels = batch.labels.clone()
        if ranks.rank == number == 0:
            labels[:] = batch.inputs["input_ids"]  # first tokens are supervised too
        if reader.reading:
            with reader.micro_batch(labels, batch.row_of_token, batch.task_of_row, lambda: 1.0):
                row_losses(model, batch, whole_logits=True)[0].sum().backward()
        else:
            row_losses(model, batch, whole_logits=True)[0].sum().backward()
    try:
        reader.scores()
    except BypassedModule as error:
        return str(error)
    return "it was read"


def differentiate_unreduced(ranks: Ranks) -> str:
    model = make_model("llama")
    shard(model)
    model.set_requires_gradient_sync(False)
    total = row_losses(model, packed(make_rows(2, 1), [0, 1]), whole_logits=True)[0].sum()
    try:
        gradients_of(total, trained_parameters(model))
    except RuntimeError as error:
        return str(error)
    return "gradients were found"


def all_sharded(ranks: Ranks) -> dict[Any, Any]:
    return {
        **{case: measure_sharded(*case, ranks) for case in CASES},
        "failure": read_with_a_failure_on_one_process(ranks),
        "unreduced": differentiate_unreduced(ranks),
    }


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    return in_two_processes(all_sharded, tmp_path_factory.mktemp("sharded"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_sharded_model_gives_v_and_scores_of_a_whole_one(case: Any, on_two: Any) -> None:
    expected = alone(case[0])
    for found in (one[case] for one in on_two):
        assert relative_error(found["v"], expected["v"]) < 1e-5
        assert relative_error(found["ahead"], expected["ahead"]) < 1e-5
        assert_as_alone(found, expected)
        assert found["check"].max_relative_error < 1e-5
        assert found["gradients kept"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_v_stays_sharded_and_one_modules_part_is_whole_at_a_time(case: Any, on_two: Any) -> None:
    assert_v_is_whole_a_module_at_a_time([one[case] for one in on_two], case[0])


@pytest.mark.slow
def test_what_one_process_cannot_read_stops_no_other(on_two: Any) -> None:
    said = [one["failure"] for one in on_two]
    assert said[0].startswith("packed rows whose first token is supervised")
    assert said[1] == "another process could not read its backward"


@pytest.mark.slow
def test_a_backward_without_reduction_is_noticed(on_two: Any) -> None:
    for one in on_two:
        assert one["unreduced"].startswith("a backward left no gradients on sharded parameters")
