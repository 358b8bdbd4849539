"""The losses of rows of a training forward whose fused loss gives no logits, of a model that FSDP2
shards over two processes, beside those of the whole model; float32, to 1e-5 of the largest."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapt_axolotl.integration.row_losses import RowLosses
from adapt_axolotl.metagradient import head_loss
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import trained_parameters, whole
from benchmarks.fsdp_modules import shard
from tests.support.fused_loss import go_around_the_head
from tests.support.models import make_model, make_rows, padded, relative_error
from tests.support.two_processes import in_two_processes

CPU = torch.device("cpu")
# Of each process, of unlike numbers of rows.
BATCHES = [
    [padded(make_rows(n, seed), [0] * n) for n, seed in of]
    for of in [((6, 1), (2, 2)), ((1, 3), (5, 4))]
]


def train_on(model: Any, of: list[Any], take: bool) -> list[torch.Tensor]:
    """The losses of rows, micro-batch by micro-batch, and the gradients that training has."""
    model.train()
    taker = RowLosses(model) if take else None
    found = []
    for batch in of:
        if taker is not None:
            taker.before(batch)
        loss = model(**batch.inputs, labels=batch.labels)
        if taker is not None:
            sums, tokens = taker.take({"loss": loss}, batch.inputs)
            assert torch.equal(tokens, batch.tokens_of_rows())
            found.append(sums)
        loss.backward()
    return [*found, *(whole(one.grad, CPU) for one in trained_parameters(model))]


CASES = [(True, True), (False, True), (False, False)]  # tied; given up after a forward


def sharded(ranks: Ranks) -> dict[Any, list[list[torch.Tensor]]]:
    """Of each case what training finds that takes the losses, and that which does not."""
    head_loss.CHUNK = 61 * 7  # some chunks, of unlike numbers
    found: dict[Any, list[list[torch.Tensor]]] = {case: [] for case in CASES}
    for tied, reshard in CASES:
        for take in (True, False):
            model = make_model("llama", tie_word_embeddings=tied)
            go_around_the_head(model)
            shard(model, reshard)
            found[tied, reshard].append(train_on(model, BATCHES[ranks.rank], take))
    return found


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    return in_two_processes(sharded, tmp_path_factory.mktemp("row_losses"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_sharded_head_gives_them_and_training_goes_on_the_same(case: Any, on_two: Any) -> None:
    model = make_model("llama", tie_word_embeddings=case[0])
    for rank, (taken, left) in enumerate(one[case] for one in on_two):
        expected = [row_losses(model, batch)[0] for batch in BATCHES[rank]]
        for found, one in zip(taken, expected, strict=False):
            assert relative_error(found, one) < 1e-5
        assert all(torch.equal(*pair) for pair in zip(taken[2:], left, strict=True))
