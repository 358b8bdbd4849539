"""Rows whose losses stay far above their task's are drawn less often; no row is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.sampling.row_scores import (
    FLOOR,
    LEAST_ROWS,
    PRIOR_PAIRS,
    SCALE,
    START,
    WINDOW,
    RowScores,
)
from adapt_axolotl.sampling.stream import TaskStream
from tests.support.plain_runs import make_pools

ONE_TASK = np.array([1.0])
WRONG = 0.1


def one_task(rows: int = 200) -> TaskPools:
    ones = np.ones(rows, dtype=np.int64)
    return TaskPools(("a",), np.zeros(rows, dtype=np.int64), 5 * ones, 9 * ones)


def losses_with_wrong_rows(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(losses a token, which are wrong) of rows: what repeats at each visit."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros(rows, dtype=bool)
    wrong[rng.choice(rows, int(WRONG * rows), replace=False)] = True
    return np.where(wrong, 3.0, 1.0) + 0.2 * rng.normal(size=rows), wrong


def passes(
    pools: TaskPools, losses: np.ndarray, count: float, noise: float = 0.0
) -> tuple[list[int], RowScores]:
    """The rows that are drawn in so many passes over a task, one optimizer step for each eight."""
    rng = np.random.default_rng(1)
    scores = RowScores(pools)
    stream = TaskStream(pools, unit="tokens", seed=3, scores=scores)
    drawn: list[int] = []
    while len(drawn) < count * len(losses):
        rows = [stream.draw(ONE_TASK) for _ in range(8)]
        step = np.unique(rows)
        seen = losses[step] + noise * rng.normal(size=len(step))
        scores.take(step, seen * pools.supervised_tokens[step], pools.supervised_tokens[step])
        drawn += rows
    return drawn, scores


def test_scores_and_parts_are_those_of_the_definition() -> None:
    """Row by row in floats, where the fast form goes by steps and stores 1/1000 of a deviation."""
    pools, rng = one_task(30), np.random.default_rng(0)
    fast = RowScores(pools)
    kept = 1 - 1 / WINDOW
    count = total = squares = first = second = both = 0.0
    scores: dict[int, float] = {}
    ages = dict.fromkeys(range(30), 0)
    for number in range(4):
        if number:
            fast.begin_pass(0)
            ages = {row: age + 1 for row, age in ages.items()}
        for step in np.split(rng.permutation(30)[: 30 - 6 * (number == 2)], 6):
            losses = rng.gamma(2.0, 1.0, len(step)) + step / 10
            fast.take(np.sort(step), losses[np.argsort(step)] * 5, np.full(len(step), 5))
            faded = kept ** len(step)
            count = faded * count + len(step)
            total = faded * total + losses.sum()
            squares = faded * squares + (losses**2).sum()
            mean = total / count
            deviation = (squares / count - mean**2) ** 0.5
            if count <= LEAST_ROWS:
                continue
            pairs = [
                (scores[row], (loss - mean) / deviation)
                for row, loss in zip(step.tolist(), losses.tolist(), strict=True)
                if row in scores
            ]
            faded = kept ** len(pairs)
            first = faded * first + sum(a * a for a, _ in pairs)
            second = faded * second + sum(b * b for _, b in pairs)
            both = faded * both + sum(a * b for a, b in pairs)
            for row, loss in zip(step.tolist(), losses.tolist(), strict=True):
                scores[row], ages[row] = (loss - mean) / deviation, 0
    correlation = both / ((first * second) ** 0.5 + PRIOR_PAIRS)
    assert fast.correlations() == pytest.approx([correlation], abs=1e-3)
    assert correlation > 0.2
    assert fast.scores() == pytest.approx([scores[row] for row in range(30)], abs=1e-3)
    expected = [correlation ** max(1, ages[row]) * scores[row] for row in range(30)]
    parts = [min(1.0, max(FLOOR, np.exp((START - one) / SCALE))) for one in expected]
    assert fast.parts() == pytest.approx(parts, abs=5e-3)
    assert [fast.part(row) for row in range(30)] == pytest.approx(fast.parts(), rel=1e-12)


def test_rows_that_stay_hard_are_found_and_drawn_seldom() -> None:
    pools = one_task()
    losses, wrong = losses_with_wrong_rows(200)
    drawn, scores = passes(pools, losses, 6)
    highest = np.argsort(-scores.scores())[:20]
    assert wrong[highest].all()
    assert scores.parts()[wrong].mean() < 0.3
    assert np.mean(scores.parts()[~wrong] == 1) > 0.95
    visits = np.bincount(drawn, minlength=200)
    assert visits[wrong].mean() < 4
    assert visits[~wrong].mean() > 6


def test_the_first_two_passes_hold_each_row_once() -> None:
    pools = one_task()
    drawn, _ = passes(pools, losses_with_wrong_rows(200)[0], 2)
    assert sorted(drawn[:200]) == sorted(drawn[200:]) == list(range(200))


def test_losses_that_do_not_repeat_choose_nothing() -> None:
    pools = one_task()
    drawn, scores = passes(pools, np.ones(200), 6, noise=1.0)
    assert scores.correlations() < 0.3
    visits = np.bincount(drawn, minlength=200)
    assert np.mean(visits == 6) > 0.9


def test_no_row_is_lost_and_none_comes_twice_in_a_pass() -> None:
    pools = one_task(50)
    drawn, _ = passes(pools, losses_with_wrong_rows(50)[0], 60)
    late = np.bincount(drawn[10 * 50 :], minlength=50)
    assert late.min() > 0
    # 50 passes of draws are at most so many more passes as leave out what is seldom drawn.
    assert late.max() < 50 / (1 - 2 * WRONG)


def test_a_row_that_turns_out_right_comes_back() -> None:
    pools = one_task()
    scores = RowScores(pools)
    rows, losses = np.arange(200), losses_with_wrong_rows(200)[0]
    for _ in range(4):
        scores.begin_pass(0)
        scores.take(rows, losses * 5, np.full(200, 5))
    hardest = int(np.argmax(losses))
    assert scores.part(hardest) == FLOOR
    scores.take(rows[hardest : hardest + 1], np.array([5.0]), np.array([5]))
    assert scores.part(hardest) == 1


def test_a_score_is_believed_less_the_longer_ago_the_row_was_seen() -> None:
    pools = one_task()
    scores = RowScores(pools)
    losses = losses_with_wrong_rows(200)[0] + np.random.default_rng(5).normal(0, 0.5, (6, 200))
    for one in losses:
        scores.begin_pass(0)
        scores.take(np.arange(200), one * 5, np.full(200, 5))
    before = scores.parts()
    assert before.min() < 0.7
    for _ in range(300):
        scores.begin_pass(0)
    assert (scores.parts() >= before).all()
    assert scores.parts().min() == 1


def test_rows_without_a_finite_loss_or_alike_to_the_last_bit_have_no_score() -> None:
    pools = one_task()
    scores = RowScores(pools)
    scores.take(np.arange(100), np.full(100, np.inf), np.full(100, 5))
    scores.take(np.arange(100, 200), np.full(100, 0.7), np.full(100, 5))
    assert np.isnan(scores.scores()).all()
    assert (scores.parts() == 1).all()


def test_a_checkpoint_holds_four_characters_a_row_and_goes_on_to_the_bit() -> None:
    pools = make_pools(sizes=(40, 30, 20))
    shares, left = np.array([0.5, 0.2, 0.3]), np.array([np.inf, 4000.0, np.inf])
    loss_of = np.random.default_rng(0).gamma(1.0, 1.0, 90)

    def go_on(stream: TaskStream, scores: RowScores, steps: int) -> list[int | None]:
        drawn = []
        for _ in range(steps):
            # With a quota the next row is looked at before it is drawn.
            rows = [stream.draw(shares, left) for _ in range(7)]
            step = np.unique(rows)
            scores.take(
                step, loss_of[step] * pools.supervised_tokens[step], pools.supervised_tokens[step]
            )
            drawn += rows
        return drawn

    def fresh() -> tuple[TaskStream, RowScores]:
        scores = RowScores(pools)
        return TaskStream(pools, unit="tokens", seed=0, scores=scores), scores

    whole = go_on(*fresh(), 80)
    for stop in range(1, 80, 6):
        stream, scores = fresh()
        before = go_on(stream, scores, stop)
        state = json.loads(json.dumps(stream.state_dict()))
        assert len(state["scores"]["rows"]) <= 4 * 90
        stream, scores = fresh()
        stream.load_state_dict(state)
        assert before + go_on(stream, scores, 80 - stop) == whole
