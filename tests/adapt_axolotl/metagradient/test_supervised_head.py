"""The head at supervised positions, whole or in chunks, gives the losses and gradients of all
positions. Tolerance: 1e-5 relative in float32, 1e-10 in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adapt_axolotl.metagradient import head_loss, supervised_head
from adapt_axolotl.metagradient.head_in_chunks import PlainHead
from adapt_axolotl.metagradient.losses import row_losses, weighted_loss
from tests.support.models import FAMILIES, make_model, make_rows, packed, padded, trained

TASKS = [0, 1, 2, 0, 3, 1]


# Of each row's losses in the sum; of one row nothing counts.
WEIGHTS = torch.tensor([1.0, 0.3, 2.0, 0.0, 1.5, 0.7])


def plain_gradients(model: torch.nn.Module, batch):
    """By autograd, through the logits of all positions."""
    sums, _ = row_losses(model, batch, whole_logits=True)
    return sums.detach(), torch.autograd.grad((WEIGHTS * sums).sum(), trained(model))


def gradients(model: torch.nn.Module, batch):
    total, sums = weighted_loss(model, batch, WEIGHTS[: len(batch.task_of_row)])
    torch.testing.assert_close(sums, row_losses(model, batch)[0], rtol=1e-6, atol=1e-6)
    return sums, torch.autograd.grad(total, trained(model))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [padded, packed])
@pytest.mark.parametrize("chunk", [10**9, 61 * 7])  # all at once, seven positions of 61 words
def test_losses_and_gradients_are_those_of_all_positions(
    family: str, layout, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(family)
    batch = layout(make_rows(6, 1), TASKS)
    expected, by_all = plain_gradients(model, batch)
    monkeypatch.setattr(head_loss, "CHUNK", chunk)
    found, by_some = gradients(model, batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(by_some, by_all, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("chunk", "most", "hooked"), [(10**9, None, True), (61 * 7, 7, True), (61 * 7, 7, False)]
)
def test_the_head_sees_no_more_than_it_must(
    chunk: int, most: int | None, hooked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain head multiplies by itself, around hooks, where it has none."""
    monkeypatch.setattr(head_loss, "CHUNK", chunk)
    model = make_model("qwen3")
    batch = padded(make_rows(6, 1), TASKS)
    seen: list[int] = []
    if hooked:
        model.lm_head.register_forward_hook(
            lambda module, args, output: seen.append(output[..., 0].numel())
        )
    else:
        logits = PlainHead.logits

        def counted(self: PlainHead, some: slice) -> Tensor:
            found = logits(self, some)
            seen.append(len(found))
            return found

        monkeypatch.setattr(PlainHead, "logits", counted)
    gradients(model, batch)
    supervised = int(batch.tokens_of_rows().sum())
    assert supervised < batch.labels.numel()
    assert max(seen) == (most or supervised)


def test_logits_that_are_capped_after_the_head_come_in_chunks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model("gemma3", final_logit_softcapping=0.5)
    batch = padded(make_rows(6, 1), TASKS)
    expected, by_all = plain_gradients(model, batch)
    monkeypatch.setattr(head_loss, "CHUNK", 61 * 7)
    seen: list[int] = []
    model.lm_head.register_forward_hook(
        lambda module, args, output: seen.append(output[..., 0].numel())
    )
    found, by_some = gradients(model, batch)
    assert max(seen) == 7
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(by_some, by_all, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_model_that_changes_its_logits_in_another_way_is_noticed_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model("llama")
    plain = model.forward

    def capped(**inputs):
        output = plain(**inputs)
        output.logits = 0.5 * torch.tanh(output.logits / 0.5)
        return output

    model.forward = capped
    batch = padded(make_rows(6, 1), TASKS)
    expected, by_all = plain_gradients(model, batch)
    monkeypatch.setattr(head_loss, "CHUNK", 61 * 7)
    monkeypatch.setattr(supervised_head, "_said", set())
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        for _ in range(2):
            found, by_some = gradients(model, batch)
    assert caplog.text.count("changes the logits after its head") == 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(by_some, by_all, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_batch_without_supervised_tokens_has_no_loss_and_no_error() -> None:
    model = make_model("llama")
    batch = padded(make_rows(2, 1), [0, 1])
    batch.labels.fill_(-100)
    sums, found = gradients(model, batch)
    assert sums.tolist() == [0.0, 0.0]
    assert all((one == 0).all() for one in found)
