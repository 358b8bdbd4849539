"""Validation rows of tasks whose training rows have all been seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.held_out import LEAST_ROWS, MOST_ROWS, SHARE, HeldOut, HeldOutRows
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.mixture.learning_curves import GROWTH, MOMENTS
from tests.support.measuring_rows import POISON, make_measuring_rows
from tests.support.models import make_model

ALL = np.ones(3, dtype=bool)


def make_pools(lengths: list[int], rows: int = 40, supervised: int = 10) -> TaskPools:
    """So many rows of each task, which are so long."""
    count = len(lengths) * rows
    task = np.arange(count) % len(lengths)
    names = tuple(f"task_{number}" for number in range(len(lengths)))
    return TaskPools(names, task, np.full(count, supervised), np.array(lengths)[task])


def make_rows(seed: int = 0, lengths: tuple[int, ...] = (15, 15, 15)) -> HeldOutRows:
    pools = make_pools(list(lengths))
    return HeldOutRows(pools, pools, seed)


def test_a_task_keeps_the_rows_that_it_was_admitted_with() -> None:
    rows = make_rows()
    first = np.array([True, False, False])
    rows.counts = rows.admitted(first, np.full(3, 3000.0))
    assert LEAST_ROWS <= rows.counts[0] < MOST_ROWS
    mine = set(rows.chosen(rows.counts).tolist())
    later = rows.admitted(ALL, np.full(3, 1e6))
    assert later.tolist() == [rows.counts[0], MOST_ROWS, MOST_ROWS]
    assert mine < set(rows.chosen(later).tolist())
    assert (np.diff(rows.chosen(later)) > 0).all()
    other = make_rows(seed=1)
    assert set(other.chosen(rows.counts).tolist()) != mine


@pytest.mark.parametrize("lengths", [(15, 15, 15), (1500, 12, 12)])
@pytest.mark.parametrize("trained", [1e3, 1e4, 1e5, 1e6])
def test_they_take_a_small_share_of_the_time_however_long_they_are(
    lengths: tuple[int, ...], trained: float
) -> None:
    rows, pools = make_rows(lengths=lengths), make_pools(list(lengths))
    tokens = np.array([0.02, 0.49, 0.49]) * trained
    for old in ([False, False, True], [True, True, True]):
        rows.counts = rows.admitted(np.array(old), tokens)
    read = pools.lengths[rows.chosen(rows.counts)].sum()
    since_the_last = (1 - 1 / GROWTH) * (tokens / 10) @ np.array(lengths)
    # A forward is a third of a training step.
    assert read / 3 <= SHARE * since_the_last


def test_without_such_tasks_nothing_is_read() -> None:
    rows = make_rows()
    assert rows.tokens(rows.admitted(~ALL, np.full(3, 1e6))) == 0


def test_only_the_change_of_a_row_counts_beside_the_first_mean_of_its_task() -> None:
    model, rows = make_model("llama"), make_measuring_rows(2)
    pools = rows._pools

    def make() -> HeldOut:
        which = HeldOutRows(pools, pools, 0)
        return HeldOut(model, rows, which, Ranks(), lambda: evaluation_mode(model))

    def losses() -> np.ndarray:
        batches = rows.batches(np.arange(30))
        found = [row_losses(model, batch)[0].detach().double().numpy() for batch in batches]
        order = np.concatenate(rows.parts(np.arange(30)))
        return np.concatenate(found)[np.argsort(order)]

    held_out, tasks, trained = make(), np.array([True, False, True]), np.full(3, 1e6)
    first, w = losses(), pools.supervised_tokens
    found = held_out.moments(tasks, trained)
    mine = pools.task_of_row == 0
    mean = first[mine].sum() / w[mine].sum()
    moment = {name: found[number] for number, name in enumerate(MOMENTS)}
    assert moment["1"].tolist() == [10, 0, 10]
    assert moment["s"][0] == pytest.approx(first[mine].sum(), rel=1e-5)
    # No spread of rows at the first time: each is its task's mean.
    assert moment["s^2"][0] == pytest.approx(mean**2 * (w[mine] ** 2.0).sum(), rel=1e-5)
    assert held_out.tokens(tasks, trained) == moment["w"].sum()

    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(held_out.state_dict(), allow_nan=False)))
    for parameter in model.parameters():
        parameter.data *= 0.9
    changed = losses() - first + mean * w
    for one in (held_out, resumed):
        s = one.moments(tasks, trained)[MOMENTS.index("s^2")]
        assert s[0] == pytest.approx((changed[mine] ** 2).sum(), rel=1e-5)


def test_a_loss_that_is_not_finite_leaves_its_task_out_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, rows = make_model("llama", tie_word_embeddings=False), make_measuring_rows(2, 1)
    with torch.no_grad():
        model.model.embed_tokens.weight[POISON] = torch.nan
    which = HeldOutRows(rows._pools, rows._pools, 0)
    held_out = HeldOut(model, rows, which, Ranks(), lambda: evaluation_mode(model))
    for _ in range(2):
        found = held_out.moments(ALL, np.full(3, 1e6))
        assert np.isfinite(found).all()
        assert found[0].tolist() == [10, 0, 10]
    assert caplog.text.count("task 'b': the loss of some of its validation rows is not") == 1
