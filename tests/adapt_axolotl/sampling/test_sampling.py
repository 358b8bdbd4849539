"""The sampler follows its mixture, ends with the budget, and does not depend on ranks or kills."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard

from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.sampling.batches import BlockShape, MixtureBatchSampler, rows_of
from adapt_axolotl.sampling.stream import TaskStream, Unit
from tests.support.plain_runs import make_pools


def token_shares(pools: TaskPools, rows: list[int]) -> np.ndarray:
    tokens = pools.supervised_tokens[rows]
    return np.bincount(pools.task_of_row[rows], weights=tokens, minlength=3) / tokens.sum()


@pytest.mark.parametrize("seed", range(5))
def test_token_shares_follow_the_proportions(seed: int) -> None:
    pools = make_pools(seed)
    stream = TaskStream(pools, unit="tokens", seed=seed)
    proportions = np.array([0.5, 0.2, 0.3])
    rows = [stream.draw(proportions) for _ in range(2000)]
    # Credits bound the error to a few rows: 4 rows of at most 80 tokens of 2000 x about 8.
    total = pools.supervised_tokens[rows].sum()
    assert np.abs(token_shares(pools, rows) - proportions).max() * total < 4 * 80


def test_example_shares_follow_the_proportions_exactly() -> None:
    pools = make_pools()
    stream = TaskStream(pools, unit="examples", seed=1)
    proportions = np.array([0.5, 0.2, 0.3])
    rows = [stream.draw(proportions) for _ in range(1000)]
    counts = np.bincount(pools.task_of_row[rows], minlength=3)
    assert np.abs(counts - 1000 * proportions).max() <= 2


def test_changed_proportions_show_from_the_next_draw() -> None:
    pools = make_pools()
    stream = TaskStream(pools, unit="tokens", seed=0)
    for _ in range(500):
        stream.draw(np.array([0.8, 0.1, 0.1]))
    rows = [stream.draw(np.array([0.1, 0.1, 0.8])) for _ in range(500)]
    assert token_shares(pools, rows)[2] == pytest.approx(0.8, abs=0.05)


def test_round_robin_takes_tasks_in_turn() -> None:
    pools = make_pools()
    stream = TaskStream(pools, unit="examples", seed=3, ordered=True)
    rows = [stream.draw(np.full(3, 1 / 3)) for _ in range(30)]
    assert pools.task_of_row[rows].tolist() == [0, 1, 2] * 10


@pytest.mark.parametrize("unit", ["tokens", "examples"])
def test_a_task_without_rows_changes_no_draw(unit: Unit) -> None:
    """A target that is not trained on stands behind the tasks that are."""
    pools = make_pools()
    wider = replace(pools, tasks=(*pools.tasks, "target"))
    shares = np.array([0.5, 0.2, 0.3])
    rows = {
        len(one.tasks): [
            stream.draw(np.append(shares, np.zeros(len(one.tasks) - 3))) for _ in range(300)
        ]
        for one in (pools, wider)
        for stream in [TaskStream(one, unit=unit, seed=4, max_repeats=1.0)]
    }
    assert rows[3] == rows[4]


def test_first_draws_are_spread_by_seed() -> None:
    pools = make_pools()
    first = {
        int(
            pools.task_of_row[TaskStream(pools, unit="examples", seed=seed).draw(np.full(3, 1 / 3))]
        )
        for seed in range(30)
    }
    assert first == {0, 1, 2}


def test_a_task_of_no_share_is_never_drawn() -> None:
    pools = make_pools()
    for seed in range(10):
        stream = TaskStream(pools, unit="tokens", seed=seed)
        rows = [stream.draw(np.array([1.0, 0.0, 0.0])) for _ in range(50)]
        assert set(pools.task_of_row[rows]) == {0}


def test_each_pass_over_a_task_holds_every_row_once_in_a_new_order() -> None:
    pools = make_pools()
    stream = TaskStream(pools, unit="examples", seed=0)
    only_b = np.array([0.0, 1.0, 0.0])
    first = [stream.draw(only_b) for _ in range(50)]
    second = [stream.draw(only_b) for _ in range(50)]
    assert sorted(first) == sorted(second) == pools.rows(1).tolist()
    assert first != second


def test_repeats_are_capped_and_the_share_goes_to_the_others() -> None:
    pools = make_pools()
    stream = TaskStream(pools, unit="examples", seed=0, max_repeats=2)
    rows = [stream.draw(np.array([0.25, 0.5, 0.25])) for _ in range(600)]
    counts = np.bincount(pools.task_of_row[rows], minlength=3)
    assert counts[1] == 100
    assert abs(counts[0] - counts[2]) <= 2
    exhausted = TaskStream(pools, unit="examples", seed=0, max_repeats=1)
    drawn = 0
    while exhausted.draw(np.full(3, 1 / 3)) is not None:
        drawn += 1
    assert drawn == len(pools.task_of_row)


def make_sampler(
    shape: BlockShape, budget: int = 10**9, seed: int = 0, pools: TaskPools | None = None
) -> MixtureBatchSampler:
    pools = pools or make_pools()
    return MixtureBatchSampler(
        TaskStream(pools, unit="tokens", seed=seed),
        lambda: np.array([0.5, 0.2, 0.3]),
        shape,
        TokenLedger(pools, budget),
    )


def take(sampler: MixtureBatchSampler, count: int) -> list:
    iterator = iter(sampler)
    return [next(iterator) for _ in range(count)]


@pytest.mark.parametrize("budget", [500, 1234, 5000])
@pytest.mark.parametrize("bin_tokens", [None, 128])
def test_the_last_block_is_the_last_that_fits(budget: int, bin_tokens: int | None) -> None:
    pools = make_pools()
    shape = BlockShape(micro_batches=2, rows=4, bin_tokens=bin_tokens)
    sampler = make_sampler(shape, budget, pools=pools)
    unlimited = make_sampler(shape, pools=pools)
    batches = list(sampler)
    steps = len(batches) // 2
    spent = [
        int(pools.supervised_tokens[rows_of(a) + rows_of(b)].sum())
        for a, b in zip(batches[::2], batches[1::2], strict=True)
    ]
    following = int(pools.supervised_tokens[unlimited.block(steps).rows()].sum())
    assert sum(spent) <= budget < sum(spent) + following
    assert sampler.finished


@pytest.mark.parametrize("bin_tokens", [None, 128])
@pytest.mark.parametrize("seed", range(3))
def test_rows_of_a_step_do_not_depend_on_the_number_of_ranks(
    seed: int, bin_tokens: int | None
) -> None:
    def rows_by_step(ranks: int) -> list[list[int]]:
        # Global batch 16: rows 2, so accumulation 8 / ranks.
        shape = BlockShape(micro_batches=8, rows=2, bin_tokens=bin_tokens)
        shards = []
        for rank in range(ranks):
            sampler = make_sampler(shape, budget=4000, seed=seed)
            shards.append(list(BatchSamplerShard(sampler, ranks, rank)))
        accumulation = 8 // ranks
        steps = len(shards[0]) // accumulation
        return [
            sorted(
                row
                for shard in shards
                for batch in shard[step * accumulation : (step + 1) * accumulation]
                for row in rows_of(batch)
            )
            for step in range(steps)
        ]

    assert rows_by_step(1) == rows_by_step(2) == rows_by_step(4)
    assert len(rows_by_step(1)) > 5


def test_packing_changes_neither_the_rows_nor_their_order() -> None:
    pools = make_pools()
    packed = make_sampler(BlockShape(2, 3, bin_tokens=100), pools=pools)
    stream = TaskStream(pools, unit="tokens", seed=0)
    drawn = [row for index in range(30) for row in packed.block(index).rows()]
    expected = [stream.draw(np.array([0.5, 0.2, 0.3])) for _ in range(len(drawn))]
    # Within a block rows are laid into bins; over blocks none is lost, doubled or overtaken.
    assert sorted(drawn) == sorted(expected)


def test_bins_are_never_overfull_nor_empty_and_mostly_full() -> None:
    pools = make_pools()
    sampler = make_sampler(BlockShape(2, 4, bin_tokens=100), pools=pools)
    fill = []
    for index in range(50):
        for micro_batch in sampler.block(index).micro_batches:
            assert len(micro_batch) == 4
            for one in micro_batch:
                assert 0 < pools.lengths[one].sum() <= 100
                fill.append(pools.lengths[one].sum() / 100)
    assert np.mean(fill) > 0.75


@pytest.mark.parametrize("bin_tokens", [None, 100])
@pytest.mark.parametrize("stop", [0, 1, 7])
def test_a_resumed_sampler_draws_what_the_uninterrupted_one_does(
    stop: int, bin_tokens: int | None
) -> None:
    shape = BlockShape(2, 3, bin_tokens)
    whole = make_sampler(shape, budget=3000)
    expected = list(whole)

    first = make_sampler(shape, budget=3000)
    iterator = iter(first)
    got = []
    for step in range(stop):
        got += [next(iterator), next(iterator)]
        first.block(step + 1)  # fetched ahead, not trained
        first._ledger.commit(first.commit(step).rows())
    saved = json.loads(json.dumps([first.state_dict(), first._ledger.state_dict()]))

    second = make_sampler(shape, budget=3000, seed=99)
    second.load_state_dict(saved[0])
    second._ledger.load_state_dict(saved[1])
    second._stream._seed = 0  # the seed is in the recipe, not in the state
    assert got + list(second) == expected


def test_an_epoch_that_starts_again_loses_no_fetched_batch() -> None:
    sampler = make_sampler(BlockShape(2, 3))
    expected = take(make_sampler(BlockShape(2, 3)), 8)
    assert take(sampler, 5) == expected[:5]  # two steps trained, one batch fetched ahead
    for step in range(2):
        sampler.commit(step)
    assert take(sampler, 4) == expected[4:]


def test_state_does_not_grow_with_the_rows() -> None:
    def size(rows: int) -> int:
        pools = make_pools(sizes=(rows, rows, rows))
        sampler = make_sampler(BlockShape(2, 3), pools=pools)
        take(sampler, 20)
        return len(json.dumps(sampler.state_dict()))

    assert size(3000) < size(30) + 300  # only the digits of row numbers


def test_it_has_no_length() -> None:
    with pytest.raises(TypeError, match="token budget"):
        len(make_sampler(BlockShape(1, 1)))
