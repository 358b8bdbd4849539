"""Which models give a mean whatever count of tokens they are given is found by their losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import FalconMambaConfig, FalconMambaForCausalLM, PreTrainedModel

from adapt_axolotl.integration.loss_reduction import divides_by_given_count
from adapt_axolotl.metagradient.ranks import Ranks
from benchmarks.tiny_families import tiny_model
from tests.support.models import make_model


def balanced_experts() -> PreTrainedModel:
    """With a router's loss of eight times that of the tokens."""
    torch.manual_seed(0)
    model = tiny_model("mixtral")
    model.config.output_router_logits = True
    model.router_aux_loss_coef = 16.0
    return model


def falcon_mamba() -> PreTrainedModel:
    sizes = {"vocab_size": 64, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 1}
    return FalconMambaForCausalLM(FalconMambaConfig(**sizes))


@pytest.mark.parametrize(
    ("model", "divides"),
    [(make_model("llama"), True), (balanced_experts(), True), (falcon_mamba(), False)],
)
def test_a_model_that_ignores_the_count_is_told_from_one_that_divides_by_it(
    model: PreTrainedModel, divides: bool
) -> None:
    tokens = torch.arange(12).reshape(2, 6)

    def loss_of(times: int) -> Tensor:
        count = torch.tensor(10 * times)
        return model(input_ids=tokens, labels=tokens, num_items_in_batch=count).loss.detach()

    assert divides_by_given_count(loss_of, Ranks()) is divides


@pytest.mark.parametrize("loss", [0.0, torch.nan])
def test_a_micro_batch_without_a_predicted_token_tells_nothing(loss: float) -> None:
    assert divides_by_given_count(lambda _: torch.tensor(loss), Ranks()) is None
