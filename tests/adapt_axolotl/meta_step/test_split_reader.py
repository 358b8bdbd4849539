"""Micro-batches that are split by task on two processes, under DDP and FSDP2, beside one process.

float64: scores and gradients to 1e-9 of their largest value.
"""

from __future__ import annotations

import contextlib
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from adapt_axolotl.integration.part_of_micro_batch import part_of_micro_batch
from adapt_axolotl.meta_step.split_reader import Part, SplitReader
from adapt_axolotl.metagradient.estimator import Unreadable
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import trained_parameters, whole
from adapt_axolotl.metagradient.task_batch import TaskBatch
from benchmarks.fsdp_modules import shard
from tests.support.models import (
    make_exact_model,
    make_model,
    make_rows,
    packed,
    padded,
    random_v,
    relative_error,
)
from tests.support.two_processes import in_two_processes

EXACT = 1e-9
NUM_TASKS = 5
# Of an optimizer step the micro-batches, dealt to one process or two. Some task has rows on one
# process only, in two micro-batches; nothing has rows of the last one.
MICRO_BATCHES = ([0, 1, 2, 0], [1, 1, 1], [3, 0, 2], [2, 2, 0, 3])
LAYOUTS = {"padded": padded, "packed": packed}


def micro_batch(number: int, layout: str) -> TaskBatch:
    tasks = MICRO_BATCHES[number]
    return LAYOUTS[layout](make_rows(len(tasks), 20 + number), tasks)


def accelerator_of(model: torch.nn.Module, sharded: bool) -> Any:
    """What is asked of accelerate's."""
    state = SimpleNamespace(sync_gradients=True)
    state._set_sync_gradients = lambda on: setattr(state, "sync_gradients", on)

    @contextlib.contextmanager
    def no_sync(model: Any):
        if sharded:
            model.set_requires_gradient_sync(False)
            yield
            model.set_requires_gradient_sync(True)
        else:
            with getattr(model, "no_sync", contextlib.nullcontext)():
                yield

    return SimpleNamespace(is_fsdp2=sharded, gradient_state=state, no_sync=no_sync)


# Weights of a token in the loss of each process; "unequal" where it is a mean over a micro-batch.
WEIGHTS = {"unequal": (0.25, 0.5)}


def weight_of(part: Part, weight: float, wrapping: str) -> float:
    """Of a token: where the loss is a mean, a part without rows is none of it."""
    return 0.0 if wrapping == "idle" and not part.rows else weight


def trained_split(wrapping: str, layout: str, ranks: Ranks) -> dict[str, Any]:
    """One optimizer step: scores, the gradient over all processes, and how many forwards."""
    model: Any = make_exact_model("qwen3")
    directions = random_v(list(model.parameters()))
    sharded = wrapping in ("fsdp2", "unequal", "idle")
    weight = WEIGHTS.get(wrapping, (0.25, 0.25))[ranks.rank]
    if sharded:
        shard(model)
        for module in model.modules():
            if hasattr(module, "inv_freq"):
                module.inv_freq = module.inv_freq.type(torch.float32)
    elif wrapping == "ddp":
        model = DistributedDataParallel(model)
    parameters = trained_parameters(model)
    v = [
        distributed(part, parameter) for part, parameter in zip(directions, parameters, strict=True)
    ]
    accelerator = accelerator_of(model, sharded)
    reader = SplitReader(parameters, v, NUM_TASKS, ranks)
    mine = range(ranks.rank, len(MICRO_BATCHES), ranks.count)
    forwards = 0
    for number in mine:
        last = number == mine[-1]
        # As Trainer does.
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            parts = reader.parts(micro_batch(number, layout))
            assert parts is not None
            assert sum(part.share for part in parts) == pytest.approx(1)
            for place, part in enumerate(parts, start=1):
                with (
                    part_of_micro_batch(accelerator, model, last=place == len(parts)),
                    reader.part_backward(part, partial(weight_of, part, weight, wrapping)),
                ):
                    rows = replace_rows(part.batch) if not part.rows else part.batch
                    total = row_losses(model, rows, whole_logits=True)[0].sum()
                    (weight * total * float(bool(part.rows))).backward()
                    forwards += 1
        assert accelerator.gradient_state.sync_gradients
    scores = reader.scores()
    cpu = torch.device("cpu")
    gradients = [whole(p.grad, cpu) * ranks.count for p in parameters if p.grad is not None]
    return {"scores": scores, "gradients": gradients, "forwards": forwards}


def distributed(part: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    if not isinstance(parameter, DTensor):
        return part
    return distribute_tensor(part, parameter.device_mesh, parameter.placements)


def replace_rows(batch: TaskBatch) -> TaskBatch:
    """Any rows, for a loss."""
    places = torch.zeros_like(batch.row_of_token)
    return TaskBatch(batch.inputs, batch.labels, places, torch.zeros(1, dtype=torch.int64))


@cache
def alone(layout: str) -> dict[str, Any]:
    return trained_split("", layout, Ranks())


def products_and_tokens(number: int, layout: str) -> torch.Tensor:
    """(K, 2) of each task in a micro-batch: <v, gradient of its token losses>, and how many."""
    model = make_exact_model("qwen3")
    parameters = trained_parameters(model)
    v = random_v(parameters)
    batch = micro_batch(number, layout)
    found = torch.zeros(NUM_TASKS, 2, dtype=torch.float64)
    for row, task in enumerate(batch.task_of_row.tolist()):
        sums, tokens = row_losses(model, batch, whole_logits=True)
        gradients = torch.autograd.grad(sums[row], parameters)
        product = sum(float((a * b).sum()) for a, b in zip(v, gradients, strict=True))
        found[task] += torch.tensor([product, float(tokens[row])], dtype=torch.float64)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_process_scores_its_tasks_and_adds_up_their_gradients(layout: str) -> None:
    found = alone(layout)
    model = make_exact_model("qwen3")
    parameters = trained_parameters(model)
    expected = sum(products_and_tokens(number, layout) for number in range(len(MICRO_BATCHES)))
    for number in range(len(MICRO_BATCHES)):
        (
            0.25 * row_losses(model, micro_batch(number, layout), whole_logits=True)[0].sum()
        ).backward()
    scores = found["scores"]
    assert relative_error(scores.inner_products[:4], expected[:4, 0] / expected[:4, 1]) < EXACT
    assert torch.isnan(scores.inner_products[4])
    assert scores.rows.tolist() == [3, 2, 3, 2, 0]  # parts
    assert relative_error(found["gradients"], [p.grad for p in parameters]) < EXACT
    assert found["forwards"] == 10


def both(ranks: Ranks) -> dict[Any, Any]:
    return {
        (wrapping, layout): trained_split(wrapping, layout, ranks)
        for wrapping in ("ddp", "fsdp2")
        for layout in LAYOUTS
    } | {
        "failure": failure_on_one(ranks),
        "unequal": trained_split("unequal", "padded", ranks)["scores"],
        "idle": trained_split("idle", "padded", ranks)["scores"],
    }


def failure_on_one(ranks: Ranks) -> Any:
    model = make_model("llama")
    parameters = trained_parameters(model)
    reader = SplitReader(parameters, list(parameters), NUM_TASKS, ranks)
    batch = packed(make_rows(3, 1), [0, 1, 2])
    if ranks.rank == 0:
        batch.labels[:] = batch.inputs["input_ids"]  # first tokens are supervised too
    parts = reader.parts(batch)
    try:
        reader.scores()
    except Unreadable as error:
        return parts, reader.reading, str(error)


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    return in_two_processes(both, tmp_path_factory.mktemp("split"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrapping", ["ddp", "fsdp2"])
def test_two_processes_give_the_scores_and_the_gradient_of_one(
    wrapping: str, layout: str, on_two: Any
) -> None:
    expected = alone(layout)
    for found in (one[wrapping, layout] for one in on_two):
        scores, others = found["scores"], expected["scores"]
        assert relative_error(scores.inner_products[:4], others.inner_products[:4]) < EXACT
        assert torch.isnan(scores.inner_products[4])
        assert relative_error(found["gradients"], expected["gradients"]) < EXACT
        if wrapping == "ddp":
            # The same parts; sharded gradients are those of both processes at once.
            assert torch.equal(scores.rows, others.rows)
            known = torch.isfinite(others.standard_errors)
            assert (
                relative_error(scores.standard_errors[known], others.standard_errors[known]) < 1e-6
            )
    # What trainers add up over processes at each forward is added up by both.
    assert on_two[0][wrapping, layout]["forwards"] == on_two[1][wrapping, layout]["forwards"]


@pytest.mark.slow
def test_sharded_scores_are_over_tokens_as_the_loss_weighs_them(on_two: Any) -> None:
    expected = sum(
        WEIGHTS["unequal"][number % 2] * products_and_tokens(number, "padded")
        for number in range(len(MICRO_BATCHES))
    )
    for one in on_two:
        found = one["unequal"].inner_products[:4]
        assert relative_error(found, expected[:4, 0] / expected[:4, 1]) < EXACT


@pytest.mark.slow
def test_a_process_without_rows_of_a_task_has_no_weight_in_a_mean(on_two: Any) -> None:
    expected = alone("padded")["scores"].inner_products[:4]
    for one in on_two:
        assert relative_error(one["idle"].inner_products[:4], expected) < EXACT


def test_rows_without_a_predicted_token_are_no_part() -> None:
    parameters = trained_parameters(make_model("llama"))
    reader = SplitReader(parameters, list(parameters), NUM_TASKS, Ranks())
    batch = padded(make_rows(3, 1), [0, 1, 1])
    batch.labels[0, 1:] = -100
    batch.labels[0, 0] = batch.inputs["input_ids"][0, 0]
    parts = reader.parts(batch)
    assert parts is not None
    assert [(part.task, part.rows, part.share) for part in parts] == [(1, [1, 2], 1.0)]
    batch.labels[:, 1:] = -100
    assert reader.parts(batch) is None
    with pytest.raises(Unreadable, match="no token of a micro-batch is predicted"):
        reader.scores()


@pytest.mark.slow
def test_what_one_process_cannot_split_is_split_on_none(on_two: Any) -> None:
    said = [one["failure"] for one in on_two]
    assert [one[:2] for one in said] == [(None, False)] * 2
    assert said[0][2].startswith("packed rows whose first token is supervised")
    assert said[1][2] == "another process could not split its micro-batch"
