"""The share of a head that the loss goes around, against one backward a task on the plain path.

Tolerances, relative to the largest score: 1e-9 in float64 for the head alone, 1e-4 in float32 and
5e-2 in bfloat16 for the whole model.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM

from adapt_axolotl.metagradient import fused_head as fused
from adapt_axolotl.metagradient import head_loss
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.fused_head import FusedHead
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, BypassedModule, InBackward
from adapt_axolotl.metagradient.logit_change import LogitChange
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.metagradient.self_check import check_estimator
from tests.support.fused_loss import go_around_the_head
from tests.support.models import (
    _COMMON,
    FAMILIES,
    make_model,
    make_rows,
    packed,
    padded,
    random_v,
    relative_error,
    trained,
)

TASKS = [0, 1, 2, 0, 3, 1]


def read(model: Any, batches: Any, v: Any, *, scale: float = 0.37) -> torch.Tensor:
    """Scores read off backwards of a fused mean loss."""
    reader = InBackward(model, trained(model), v, fused_loss=True)
    products = []
    for batch in batches:
        reader.begin(batch.row_of_token, batch.labels)
        loss = model(**batch.inputs, labels=batch.labels)
        (scale * loss).backward()
        tokens = int((batch.labels[:, 1:] != -100).sum())
        products.append(reader.collect(scale / tokens, len(batch.task_of_row)))
    reader.remove()
    tokens = torch.cat([batch.tokens_of_rows() for batch in batches])
    tasks = torch.cat([batch.task_of_row for batch in batches])
    return scores_from_rows(torch.cat(products), tokens, tasks, 4).inner_products


def nine_words_at_a_time(matrices: Any, *_: Any) -> Any:
    """As the rows of a sharded head come in."""
    for first in range(0, 61, 9):
        yield first, {name: one[first : first + 9] for name, one in matrices.items()}


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("in_turns", [False, True])
def test_the_share_of_the_head_is_its_gradients_product_with_v(
    cap: float | None, bias: bool, in_turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_turns:
        monkeypatch.setattr(fused, "rows_in_turn", nine_words_at_a_time)
    # Several chunks, the last one smaller.
    monkeypatch.setattr(head_loss, "CHUNK", 7 * 61)
    torch.manual_seed(3)
    head = torch.nn.Linear(16, 61, bias=bias, dtype=torch.float64)
    batch = padded(make_rows(6, 1), TASKS)
    states = 2 * torch.randn(*batch.labels.shape, 16, dtype=torch.float64)
    parts = {name: torch.randn_like(one) for name, one in head.named_parameters()}

    def after(logits: torch.Tensor) -> torch.Tensor:
        return logits if cap is None else cap * torch.tanh(logits / cap)

    decoder = torch.nn.Identity()
    reader = FusedHead(decoder, head, parts, LogitChange(cap=cap))
    reader.begin()
    decoder((states,))
    found = reader.products(batch.labels, batch.row_of_token, 6)
    assert found is not None
    for row in range(6):
        logits = after(head(states[row, :-1]))
        loss = cross_entropy(logits, batch.labels[row, 1:], ignore_index=-100, reduction="sum")
        gradients = torch.autograd.grad(loss, list(head.parameters()))
        expected = sum((g * parts[n]).sum() for g, n in zip(gradients, parts, strict=True))
        assert found[row].item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [padded, packed])
@pytest.mark.parametrize("tied", [True, False])
def test_a_fused_loss_is_read_as_the_plain_one(family: str, layout: Any, tied: bool) -> None:
    model = make_model(family, tie_word_embeddings=tied)
    parameters = trained(model)
    # Packed: what would be predicted from another row is not learned.
    batches = [layout(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    go_around_the_head(model)
    assert relative_error(read(model, batches, v), expected) < 1e-4


def gemma2() -> Any:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(final_logit_softcapping=0.5, attn_implementation="eager", **_COMMON)
    )
    return model.eval()


def cohere() -> Any:
    torch.manual_seed(0)
    config = CohereConfig(logit_scale=0.0625, attn_implementation="eager", **_COMMON)
    return CohereForCausalLM(config).eval()


@pytest.mark.parametrize("make", [gemma2, cohere])
def test_logits_that_are_capped_or_scaled_are_differentiated_through(make: Any) -> None:
    model = make()
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    check = check_estimator(IN_BACKWARD, model, parameters, batches, v, 4, fused_loss=True)
    assert check.passed, check.reason
    go_around_the_head(model)
    assert relative_error(read(model, batches, v), expected) < 1e-4


def test_an_unknown_change_of_the_logits_is_noticed_however_small_they_are() -> None:
    """A cap of another name, at logits of a hundredth of it."""
    model = make_model("llama", moved_by=0.0)
    plain = model.forward

    def capped(**inputs: Any) -> Any:
        output = plain(**inputs)
        output.logits = 30 * torch.tanh(output.logits / 30)
        return output

    model.forward = capped
    parameters = trained(model)
    batches = [padded(make_rows(2, 1), [0, 1])]
    check = check_estimator(
        IN_BACKWARD, model, parameters, batches, random_v(parameters), 2, fused_loss=True
    )
    assert not check.passed
    assert "whose logits the model changes in a way that is not known here" in check.reason
    assert check_estimator(IN_BACKWARD, model, parameters, batches, random_v(parameters), 2).passed


def test_a_fused_loss_with_a_frozen_head_asks_for_nothing() -> None:
    model = get_peft_model(
        make_model("llama"), LoraConfig(r=4, target_modules=["q_proj", "up_proj"])
    )
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)  # B starts at 0
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    reader = InBackward(model, parameters, v, fused_loss=True)
    assert not reader.computes_the_head
    reader.remove()
    go_around_the_head(model.get_base_model())
    assert relative_error(read(model, batches, v), expected) < 1e-4


def test_a_head_that_is_trained_beside_adapters_is_computed() -> None:
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = get_peft_model(make_model("llama", tie_word_embeddings=False), config)
    parameters = trained(model)
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(parameters)
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    go_around_the_head(model.get_base_model())
    assert relative_error(read(model, batches, v), expected) < 1e-4


def test_adapters_of_the_head_have_no_share_in_a_loss_that_takes_the_frozen_weight() -> None:
    config = LoraConfig(r=4, target_modules=["q_proj", "lm_head"])
    model = get_peft_model(make_model("llama", tie_word_embeddings=False), config)
    batches = [padded(make_rows(6, 1), TASKS)]
    names = [name for name, one in model.named_parameters() if one.requires_grad]
    v = random_v(trained(model))
    others = [0 * one if "lm_head" in name else one for name, one in zip(names, v, strict=True)]
    expected = per_task_scores(model, trained(model), batches, others, 4).inner_products
    go_around_the_head(model.get_base_model())
    assert relative_error(read(model, batches, v), expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fused_loss_under_bfloat16_autocast(family: str) -> None:
    model = make_model(family)
    parameters = trained(model)
    batches = [padded(make_rows(6, 8), TASKS)]
    v = direction(model, parameters, [padded(make_rows(6, 9), TASKS)], torch.full((4,), 0.25)).v
    expected = per_task_scores(model, parameters, batches, v, 4).inner_products
    go_around_the_head(model)
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)
    assert relative_error(read(model, batches, v), expected) < 5e-2


def test_a_head_whose_weight_is_not_whole_is_told() -> None:
    model = make_model("llama")
    model.lm_head.weight.ds_id = 0  # as DeepSpeed marks what it shards
    batches = [padded(make_rows(6, 1), TASKS)]
    go_around_the_head(model)
    with pytest.raises(BypassedModule, match="or its weight"):
        read(model, batches, random_v(trained(model)))


class GatedNorm(torch.nn.RMSNorm):
    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * gate


def test_a_rule_that_fails_leaves_no_hook_behind() -> None:
    model = make_model("qwen3")
    model.model.layers[0].extra = GatedNorm(8)
    with pytest.raises(TypeError, match="gate"):
        InBackward(model, trained(model), random_v(trained(model)), fused_loss=True)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(parameter._backward_hooks for parameter in trained(model))
