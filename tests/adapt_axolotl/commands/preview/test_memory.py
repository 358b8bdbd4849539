"""What of a model's step is on one process, by recipe: types, sharding, quantisation, measuring."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapt_axolotl.commands.preview.fake_step import StepBytes, StepShape
from adapt_axolotl.commands.preview.memory import (
    CUDA,
    MemoryEstimate,
    estimated_memory,
    of_process,
    states_of,
)
from adapt_axolotl.commands.preview.memory_note import memory_note
from adapt_axolotl.integration.compat import DictDefault
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.meta_step.training_losses import CurveSettings
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.head_loss import CHUNK
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD

SHAPE = StepShape(4, 1024, torch.bfloat16, fused_loss=True, checkpointing=True)
# A billion weights in 16 bits, all trained; and 10 million adapters beside them.
FULL = StepBytes(0, 0, 0, 2 * 10**9, 10**9, 10**8, 150_000, 5 * 10**9)
LORA = StepBytes(16 * 10**8, 8 * 10**8, 4 * 10**8, 4 * 10**7, 10**7, 10**8, 150_000, 10**9)


def products(estimator: Any) -> MetaSettings:
    return MetaSettings(25, 0.1, 4, 4, False, (estimator,), 0)


def planned(meta: Any = None, **keys: Any) -> Any:
    adapt = SimpleNamespace(follows_losses=False, log_task_losses=False)
    return SimpleNamespace(
        config=DictDefault({"optimizer": "adamw_torch_fused", "base_model": "nowhere", **keys}),
        spec=SimpleNamespace(adapt=adapt, micro_batch_size=4),
        plan=SimpleNamespace(learn_rows=False),
        meta=meta,
    )


def estimate(found: StepBytes, meta: Any = None, processes: int = 1, **keys: Any) -> MemoryEstimate:
    return of_process(planned(meta, **keys), found, SHAPE, processes)


def test_the_states_of_an_optimizer_go_by_its_name() -> None:
    sizes = {
        "adamw_torch_fused": 4,
        "adamw_bnb_8bit": 2,
        "adamw_torch_4bit": 1,
        "lion_pytorch": 2,
        "lion_8bit": 1,
        "adafactor": 0,
        "one_of_tomorrow": 4,
    }
    assert {name: states_of(name, FULL) / 10**9 for name in sizes} == sizes
    assert states_of("adamw_torch", LORA) == 8 * 10**7


def test_processes_share_what_their_sharding_shares() -> None:
    alone = estimate(FULL)
    assert (alone.weights, alone.optimizer, alone.step) == (2 * 10**9, 4 * 10**9, 5 * 10**9)
    assert alone.total == 11 * 10**9 + CUDA
    fsdp = estimate(FULL, processes=4, fsdp_config={"fsdp_version": 2})
    assert (fsdp.weights, fsdp.optimizer) == (5 * 10**8, 10**9)
    assert fsdp.step == 3 * 10**9 + 5 * 10**8 + 3 * 10**8
    zero2 = estimate(FULL, processes=4, deepspeed={"zero_optimization": {"stage": 2}})
    assert (zero2.weights, zero2.optimizer) == (2 * 10**9, 10**9)
    together = estimate(FULL, processes=4)
    assert together.step == alone.step + FULL.trained


def test_a_quantised_base_is_what_its_linear_layers_become() -> None:
    plain = estimate(LORA)
    four = estimate(LORA, load_in_4bit=True)
    assert plain.weights - four.weights == 16 * 10**8 - int(0.516 * 8 * 10**8)
    assert estimate(LORA, load_in_8bit=True).weights == 8 * 10**8 + 4 * 10**8 + 4 * 10**7


def test_measuring_adds_what_it_holds() -> None:
    chunks = 2 * 4 * CHUNK
    assert estimate(FULL).adapt == 0
    assert estimate(FULL, CurveSettings(0.1)).adapt == chunks
    assert estimate(FULL, products(IN_BACKWARD)).adapt == chunks + 2 * 10**9
    # v and a copy of the weights, without the activations of a backward.
    assert estimate(FULL, products(FINITE_DIFFERENCE)).adapt == 0
    small = replace(FULL, step=3 * 10**9)
    assert estimate(small, products(FINITE_DIFFERENCE)).adapt > 10**9


@pytest.mark.parametrize(
    "sharding",
    [{"fsdp_config": {"fsdp_version": 2}}, {"deepspeed": {"zero_optimization": {"stage": 3}}}],
)
def test_of_sharded_parameters_v_is_shared_and_logits_under_a_fused_loss_come_at_once(
    sharding: dict[str, Any],
) -> None:
    read = planned(products(IN_BACKWARD), **sharding)
    every = 2 * 4 * SHAPE.sequences * SHAPE.tokens * FULL.vocabulary
    assert of_process(read, FULL, SHAPE, 4).adapt == every + 5 * 10**8
    # The step without a fused loss holds all logits of training.
    plain = replace(SHAPE, fused_loss=False)
    assert of_process(read, FULL, plain, 4).adapt == 2 * 4 * CHUNK + 5 * 10**8
    # One process has nothing to share.
    assert of_process(read, FULL, SHAPE, 1).adapt == 2 * 4 * CHUNK + 2 * 10**9


def test_it_says_whether_a_process_fits_and_what_lowers_it() -> None:
    found = estimate(FULL, products(IN_BACKWARD))
    assert memory_note(found, 24, SHAPE).endswith("It fits a GPU of 24 GiB.")
    assert "give or take 20%" in memory_note(found, 24, SHAPE)
    assert "It may not fit a GPU of 13 GiB" in memory_note(found, 13, SHAPE)
    tight = memory_note(found, 8, SHAPE)
    assert "It does not fit a GPU of 8 GiB; what lowers it: a smaller micro_batch_size" in tight
    for remedy in ("adamw_8bit", "adapter: lora", "measure: training_losses"):
        assert remedy in tight
    assert "gradient_checkpointing" not in tight  # it is on
    assert "adapter: lora" not in " ".join(
        of_process(planned(), LORA, replace(SHAPE, lora={"r": 8}), 1).remedies
    )


def test_a_model_that_cannot_be_had_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapt_axolotl.commands.preview.memory.step_shape", lambda planned: SHAPE)
    found = estimated_memory(planned(base_model="no/such_model"), 1)
    assert found.obstacle is not None
    assert memory_note(found, 24, SHAPE).startswith("Memory: cannot be estimated: OSError")
