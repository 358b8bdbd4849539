"""The budget is read strictly and kept to the token."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.budget.amount import TokenBudget
from adapt_axolotl.budget.ledger import TokenLedger
from adapt_axolotl.data.pools import TaskPools


@pytest.mark.parametrize(
    ("value", "available", "tokens"),
    [
        ("5%", 1000, 50),
        ("100%", 777, 777),
        ("7%", 100, 7),
        (" 0.5 % ", 1000, 5),
        ("200_000", 10**6, 200_000),
        ("2e5", 10**6, 200_000),
        (2e5, 10**6, 200_000),
        (300, 1000, 300),
        ("300%", 777, 2331),
        ("101%", 100, 101),
        (1001, 1000, 1001),
    ],
)
def test_amounts_are_read_as_written(value: object, available: int, tokens: int) -> None:
    assert TokenBudget.parse(value).resolve(available) == tokens


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "buys no training step"),
        ("0%", "buys no training step"),
        (-5, "buys no training step"),
        (0.05, "5%"),
        ("five", "is not an amount"),
        ("nan", "is not an amount"),
        ("inf%", "is not an amount"),
        (True, "is not an amount"),
        (None, "is not an amount"),
    ],
)
def test_bad_amounts_say_what_to_write(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TokenBudget.parse(value)


def make_pools() -> TaskPools:
    return TaskPools(
        ("a", "b"), np.array([0, 0, 1, 1]), np.array([3, 4, 10, 20]), np.array([9, 9, 30, 40])
    )


def test_a_block_that_does_not_fit_changes_nothing() -> None:
    ledger = TokenLedger(make_pools(), 20)
    assert ledger.reserve([0, 2])  # 13
    assert not ledger.reserve([1, 1])  # 8 more
    assert ledger.free == 7
    assert ledger.reserve([1])
    assert ledger.reserve([0])
    assert ledger.free == 0


def test_used_counts_only_finished_steps_and_each_task() -> None:
    ledger = TokenLedger(make_pools(), 100)
    ledger.reserve([0, 2])
    assert ledger.used == 0
    ledger.commit([0, 2])
    ledger.reserve([2, 3])
    ledger.commit([2, 3])
    report = ledger.report()
    assert report["used"] == 43
    assert report["left"] == 57
    assert report["steps"] == 2
    assert report["tasks"]["a"] == {
        "tokens": 3,
        "examples": 1,
        "available": 7,
        "rows": 2,
        "repeats": 0.5,
    }
    assert report["tasks"]["b"]["tokens"] == 40
    assert report["tasks"]["b"]["repeats"] == 1.5


def test_tokens_of_a_skipped_step_return_to_the_budget() -> None:
    ledger = TokenLedger(make_pools(), 20)
    assert ledger.reserve([0, 2])
    ledger.skip([0, 2])
    assert (ledger.used, ledger.free, ledger.progress) == (0, 20, 0.0)
    report = ledger.report()
    assert (report["skipped_tokens"], report["left"], report["steps"]) == (13, 20, 1)
    assert report["tasks"]["a"]["examples"] == 0
    assert ledger.seen_of_tasks.sum() == 2


def test_meta_tokens_are_counted_apart_unless_charged() -> None:
    apart = TokenLedger(make_pools(), 20)
    assert apart.spend_on_meta_step(1000)
    assert apart.free == 20
    assert apart.meta_tokens == 1000

    charged = TokenLedger(make_pools(), 20, charge_meta_tokens=True)
    charged.reserve([2])
    assert not charged.spend_on_meta_step(11)
    assert charged.spend_on_meta_step(10)
    assert charged.free == 0
    charged.commit([2])
    assert charged.charged == 20
    assert charged.progress == 1.0


def test_state_round_trip_goes_on_with_the_same_accounts() -> None:
    ledger = TokenLedger(make_pools(), 100)
    ledger.reserve([0, 2])
    ledger.commit([0, 2])
    ledger.reserve([1])
    ledger.skip([1])
    ledger.reserve([3])
    other = TokenLedger(make_pools(), 100)
    other.load_state_dict(ledger.state_dict())
    for one in (ledger, other):
        one.commit([3])
    assert other.report() == ledger.report()
    assert other.report()["skipped_tokens"] == 4
    assert other.free == ledger.free
    assert other.seen_of_tasks.tolist() == ledger.seen_of_tasks.tolist()
