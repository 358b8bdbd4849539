"""What `in_backward` reads of each kind of model that FSDP2 shards over two processes, against one
backward a task of the whole model.

Tolerances, relative to the largest score: 1e-5 in float32 (sums over processes round differently),
5e-2 in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import MixedPrecisionPolicy

from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.metagradient import fused_head, head_loss
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD
from adapt_axolotl.metagradient.left_out import left_out
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.self_check import check_estimator
from adapt_axolotl.metagradient.sharded import trained_parameters
from adapt_axolotl.metagradient.task_batch import TaskBatch
from benchmarks.fsdp_modules import shard
from benchmarks.tiny_families import tiny_model
from tests.support.by_rows import MAKE
from tests.support.fused_loss import go_around_the_head
from tests.support.models import make_model, make_rows, padded, relative_error
from tests.support.two_processes import in_two_processes

NUM_TASKS = 3
TASK_WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def saved_head() -> Any:
    """Trained whole beside adapters."""
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    return get_peft_model(make_model("llama", tie_word_embeddings=False), config).eval()


def image_tower() -> Any:
    """A model of images and text, all of it trained."""
    return tiny_model("gemma3")


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        make: it, whole.
        fused: its training loss goes around its head.
        bfloat16: it computes in bfloat16.
        head_apart: FSDP2 wraps its head by itself.
        reshard: its layers give up their whole parameters after a forward.
        checkpointing: of its layers in training: reentrant, not so, or none.
    """

    make: Callable[[], Any]
    fused: bool = False
    bfloat16: bool = False
    head_apart: bool = False
    reshard: bool = True
    checkpointing: bool | None = None


UNTIED = partial(make_model, "llama", tie_word_embeddings=False)
KINDS = {
    "tied head": Kind(partial(make_model, "qwen3"), fused=True),
    "tied head that stays whole": Kind(partial(make_model, "qwen3"), fused=True, reshard=False),
    "untied head": Kind(UNTIED, fused=True),
    "untied head in bfloat16": Kind(UNTIED, fused=True, bfloat16=True),
    "head apart": Kind(UNTIED, fused=True, head_apart=True),
    "saved head": Kind(saved_head, fused=True),
    "image tower": Kind(image_tower),
    "image tower and a fused loss": Kind(image_tower, fused=True),
    **{name: Kind(make) for name, make in MAKE.items()},
    "experts that stay whole": Kind(MAKE["experts"], reshard=False),
    **{
        f"{name}, checkpointed, reentrant: {reentrant}": Kind(make, checkpointing=reentrant)
        for name, make in MAKE.items()
        for reentrant in (True, False)
    },
    "linear attention": Kind(partial(tiny_model, "qwen3_5")),
    "linear attention, checkpointed": Kind(partial(tiny_model, "qwen3_5"), checkpointing=False),
    "sinks": Kind(partial(tiny_model, "gpt_oss")),
    "tied head, checkpointed": Kind(partial(make_model, "qwen3"), fused=True, checkpointing=False),
}


def batches(ranks: Ranks) -> list[TaskBatch]:
    """Two micro-batches of each process, of unlike numbers of rows."""
    counts = ((6, 2), (3, 5))
    every = [
        padded(make_rows(n, 10 * i + r), [0, 1, 2, 0, 1, 2][:n])
        for i, of in enumerate(counts)
        for r, n in enumerate(of)
    ]
    return every[ranks.rank :: ranks.count]


def validation(ranks: Ranks) -> list[TaskBatch]:
    every = [padded(make_rows(4, seed), [0, 1, 2, 1]) for seed in (90, 91)]
    return every[ranks.rank :: ranks.count]


@cache
def alone(name: str) -> torch.Tensor:
    """(K,) of one backward a task."""
    model = KINDS[name].make()
    parameters = trained_parameters(model)
    v = direction(model, parameters, validation(Ranks()), TASK_WEIGHTS).v
    v = left_out(model, parameters).without(v)
    scores = per_task_scores(model, parameters, batches(Ranks()), v, NUM_TASKS)
    return scores.inner_products


def read(name: str, ranks: Ranks) -> dict[str, Any]:
    """What is read by the estimator, and of a training step."""
    kind = KINDS[name]
    model = kind.make()
    options = {"mp_policy": MixedPrecisionPolicy(torch.bfloat16)} if kind.bfloat16 else {}
    also = [model.get_output_embeddings()] if kind.head_apart else []
    shard(model, kind.reshard, also, **options)
    parameters = trained_parameters(model)
    v = direction(model, parameters, validation(ranks), TASK_WEIGHTS, reduce=ranks.sum).v
    found = {
        "estimator": IN_BACKWARD.scores(
            model, parameters, batches(ranks), v, NUM_TASKS, fused_loss=kind.fused, reduce=ranks.sum
        ).inner_products
    }
    check = check_estimator(
        IN_BACKWARD,
        model,
        parameters,
        validation(Ranks())[:1],
        v,
        NUM_TASKS,
        half_precision=kind.bfloat16,
        fused_loss=kind.fused,
    )
    found["reason"] = check.reason
    if not kind.head_apart:  # its weight is not whole where a fused loss takes it
        if kind.checkpointing is not None:
            model.gradient_checkpointing_enable({"use_reentrant": kind.checkpointing})
            model.enable_input_require_grads()
            model.train()
        found["training"] = read_training(model, kind.fused, parameters, v, ranks)
    return found


def read_training(model: Any, fused: bool, parameters: Any, v: Any, ranks: Ranks) -> torch.Tensor:
    """Off the backwards of a step that gathers gradients before it reduces them."""
    if fused:
        go_around_the_head(getattr(model, "get_base_model", lambda: model)())
    reader = BackwardReader(model, parameters, v, NUM_TASKS, ranks, fused_loss=fused)
    own = batches(ranks)
    for number, batch in enumerate(own):
        model.set_requires_gradient_sync(number == len(own) - 1)
        tokens = int((batch.labels[:, 1:] != -100).sum())
        weight = 1 / tokens if fused else 1.0
        with reader.micro_batch(
            batch.labels, batch.row_of_token, batch.task_of_row, lambda weight=weight: 0.37 * weight
        ):
            if fused:
                loss = model(**batch.inputs, labels=batch.labels)
            else:
                loss = row_losses(model, batch, whole_logits=True)[0].sum()
            (0.37 * loss).backward()
    return reader.scores().inner_products


def all_kinds(ranks: Ranks) -> dict[str, Any]:
    fused_head.WEIGHTS_AT_ONCE = 32 * 7  # several turns, the last ones smaller
    head_loss.CHUNK = 7 * 5
    return {name: read(name, ranks) for name in KINDS}


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return in_two_processes(all_kinds, tmp_path_factory.mktemp("kinds"))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_sharded_model_is_read_as_a_whole_one(name: str, on_two: Any) -> None:
    tolerance = 5e-2 if KINDS[name].bfloat16 else 1e-5
    for found in (one[name] for one in on_two):
        assert found["reason"] == ""
        assert relative_error(found["estimator"], alone(name)) < tolerance
        if "training" in found:
            assert relative_error(found["training"], alone(name)) < tolerance
