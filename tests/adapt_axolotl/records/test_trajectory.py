"""What the pictures draw: spans of a constant mixture, from 0 tokens to the end."""

from __future__ import annotations

import pytest

from adapt_axolotl.records.trajectory import NAMED, compact, trajectory
from tests.support.made_trajectory import drawn, made


def test_it_begins_at_0_tokens_with_the_initial_mixture_and_ends_with_the_run() -> None:
    history, ledger, mixture = made(["a", "b"])
    run = trajectory(history, ledger, mixture["initial"])
    assert run.edges.tolist() == [0, 1000, 1100, 1200, 1300]
    assert run.shares[0].tolist() == [0.5, 0.5]
    for span, line in enumerate(history, 1):
        assert run.shares[span].tolist() == list(line["proportions"].values())
    assert run.losses[0][0] == (0, 3.25)
    assert run.losses[0][1] == (1000, history[0]["validation_loss"]["a"])
    assert run.losses[0][-1] == (1300, 0.5)


def test_a_mixture_that_stays_is_one_span() -> None:
    history, ledger, mixture = made(["a", "b"])
    for line in history:  # as a static run writes them
        line["proportions"] = mixture["initial"]
        line["validation_loss"] = {}
    run = trajectory(history, ledger, mixture["initial"])
    assert run.edges.tolist() == [0, 1300]
    assert run.losses == (((0, 3.25), (1300, 0.5)),) * 2


def test_what_the_last_step_updates_is_not_drawn() -> None:
    history, ledger, mixture = made(["a", "b"])
    history[-1]["tokens"] = ledger["used"]
    assert trajectory(history, ledger, mixture["initial"]).edges.tolist() == [0, 1000, 1100, 1300]


def test_losses_that_were_not_measured_again_or_not_at_all_are_left_out() -> None:
    history, ledger, mixture = made(["a", "b"])
    history[1]["validation_loss"]["a"] = history[0]["validation_loss"]["a"]
    history[1]["validation_loss"]["b"] = None
    ledger["tasks"]["b"]["first_validation_loss"] = None
    run = trajectory(history, ledger, mixture["initial"])
    assert [at for at, _ in run.losses[0]] == [0, 1000, 1200, 1300]
    assert [at for at, _ in run.losses[1]] == [1000, 1200, 1300]


def test_of_many_tasks_the_largest_are_named_in_the_order_of_the_recipe() -> None:
    run = drawn([f"task {number}" for number in range(60)])
    assert run.named == sorted(run.named)
    assert len(run.named) == NAMED
    assert sorted([*run.named, *run.others]) == list(range(60))
    spans = run.edges[1:] - run.edges[:-1]
    average = spans @ run.shares
    assert average[run.named].min() >= average[run.others].max()
    assert drawn(["a", "b", "c"]).others == []


@pytest.mark.parametrize(
    ("tokens", "label"),
    [(0, "0"), (512, "512"), (20_000, "20k"), (1_060_000, "1.06M"), (3e9, "3B")],
)
def test_labels_of_tokens_are_short(tokens: float, label: str) -> None:
    assert compact(tokens) == label
