"""Mixtures that follow training losses, against their papers' updates written down literally."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from adapt_axolotl.mixture.by_losses import LossMixture, LossRule
from adapt_axolotl.mixture.doremi import DoReMi
from adapt_axolotl.mixture.group_dro import GroupDro
from adapt_axolotl.mixture.odm import Odm, exploration

TASKS = ("a", "b", "c", "d")
REFERENCE = np.array([1.0, 0.5, 2.0, 0.8])
RULES = [Odm(8), GroupDro(), GroupDro(REFERENCE, 0.3), DoReMi(REFERENCE)]
ALIKE = np.full(4, 25.0)  # tokens of each task in a step
NAMES = ["odm", "group_dro", "group_dro_excess", "doremi"]


def made(rule: LossRule) -> LossMixture:
    return LossMixture(TASKS, rule, np.full(4, 0.25))


def losses_of(steps: int, absent: float = 0.3) -> Iterator[np.ndarray]:
    """(4,) of each step; tasks are absent from some."""
    rng = np.random.default_rng(3)
    for step in range(steps):
        losses = np.array([3.0, 2.0, 1.5, 0.5]) * 0.99**step + 0.2 * rng.random(4)
        yield np.where(rng.random(4) < absent, np.nan, losses)


def test_odm_is_the_papers_algorithm() -> None:
    """Each of eight micro-batches of a step is drawn from one task, as there."""
    micro_batches, count = 8, 4
    mixture, rng = made(Odm(micro_batches)), np.random.default_rng(5)
    rewards = [0.0] * count
    # The mixture of step 1, and of the steps after it; what is drawn next lags one step behind.
    used = [[1 / count] * count, [1 / count] * count]
    for step in range(1, 61):
        drawn = used[step - 1]
        summed, batches = [0.0] * count, [0] * count
        for _ in range(micro_batches):
            i = int(rng.choice(count, p=np.array(drawn) / sum(drawn)))
            summed[i] += [3.0, 2.0, 1.5, 0.5][i] * 0.99**step + 0.2 * rng.random()
            batches[i] += 1
        for i in range(count):
            if batches[i]:
                rewards[i] = 0.9 * rewards[i] + (1 - 0.9) * summed[i] / drawn[i]
        means = [total / n if n else math.nan for total, n in zip(summed, batches, strict=True)]
        mixture.update(np.array(means), 100.0 * np.array(batches))
        t = step + 1
        e = min(1 / count, math.sqrt(math.log(count) / (count * t)))
        before = min(1 / count, math.sqrt(math.log(count) / (count * (t - 1))))
        total = sum(math.exp(before * r) for r in rewards)
        shares = [(1 - count * e) * math.exp(before * r) / total + e for r in rewards]
        used.append(shares)
        assert mixture.proportions == pytest.approx(np.array(shares), rel=1e-12)
    assert mixture.proportions[0] > mixture.proportions[3]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_tasks_that_are_alike_keep_like_shares_however_few_rows_a_step_has(rule: LossRule) -> None:
    """Twenty tasks, steps of rows of a few of them: who is drawn first is no reason for more."""
    count, rng = 20, np.random.default_rng(0)
    if isinstance(rule, GroupDro | DoReMi) and rule.reference is not None:
        rule = replace(rule, reference=np.ones(count))
    tasks = tuple(f"task {k}" for k in range(count))
    mixture = LossMixture(tasks, rule, np.full(count, 1 / count))
    total = np.zeros(count)
    for step in range(200):
        tokens = rng.multinomial(8, mixture.proportions).astype(float)
        loss = 1 + 3 * 0.99**step
        mixture.update(np.where(tokens > 0, loss, np.nan), tokens)
        total += mixture.proportions
    assert total / 200 == pytest.approx(np.full(count, 1 / count), rel=0.35)


def test_odm_explores_less_and_less() -> None:
    assert [exploration(4, t) for t in (0, 1, 5)] == [0.25] * 3  # up to 4 ln 4 = 5.5
    assert exploration(4, 100) == pytest.approx(math.sqrt(math.log(4) / 400))


@pytest.mark.parametrize("reference", [None, REFERENCE])
def test_group_dro_is_the_papers_algorithm(reference: np.ndarray | None) -> None:
    mixture, q = made(GroupDro(reference, step_size=0.3)), [0.25] * 4
    for losses in losses_of(40, absent=0):
        excess = losses if reference is None else losses - reference
        q = [share * math.exp(0.3 * loss) for share, loss in zip(q, excess, strict=True)]
        q = [share / sum(q) for share in q]
        mixture.update(losses, ALIKE)
        assert mixture.proportions == pytest.approx(np.array(q), rel=1e-10)


def test_doremi_is_the_papers_algorithm() -> None:
    mixture, p = made(DoReMi(REFERENCE, smoothing=0.05)), [0.25] * 4
    for losses in losses_of(40, absent=0):
        excess = [max(loss - ref, 0.0) for loss, ref in zip(losses, REFERENCE, strict=True)]
        p = [share * math.exp(loss) for share, loss in zip(p, excess, strict=True)]
        p = [(1 - 0.05) * share / sum(p) + 0.05 / 4 for share in p]
        mixture.update(losses, ALIKE)
        assert mixture.proportions == pytest.approx(np.array(p), rel=1e-10)
    # Below its reference from the start, task c keeps no more than what smoothing leaves it.
    assert mixture.proportions[2] < 0.05


@pytest.mark.parametrize("rule", RULES[1:], ids=NAMES[1:])
def test_a_task_without_rows_in_a_step_counts_with_its_last_loss(rule: LossRule) -> None:
    seen, absent = made(rule), made(rule)
    first = np.array([3.0, 2.0, 4.0, 0.5])
    for mixture in (seen, absent):
        mixture.update(first, ALIKE)
    seen.update(first, ALIKE)
    absent.update(np.array([3.0, np.nan, 4.0, np.nan]), ALIKE)
    assert absent.proportions.tolist() == seen.proportions.tolist()


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_no_loss_however_large_overflows(rule: LossRule) -> None:
    mixture = made(rule)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for step in range(3000):
            mixture.update(np.array([1e4, 1e4 - step, 1.0, 0.0]), ALIKE)
    shares = mixture.proportions
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert shares.min() > (0 if isinstance(rule, GroupDro) else 1e-4)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_tasks_with_shares_of_their_own_keep_them_and_untrained_ones_get_none(
    rule: LossRule,
) -> None:
    initial = np.array([0.2, 0.2, 0.1, 0.2, 0.3, 0.0])
    fixed = np.array([False, False, False, False, True, False])
    mixture = LossMixture((*TASKS, "own", "target"), rule, initial, fixed)
    alone = LossMixture(TASKS, rule, initial[:4] / 0.7)
    for losses in losses_of(30):
        mixture.update(np.array([*losses, 9.0, np.nan]), np.array([*ALIKE, 50.0, 0.0]))
        alone.update(losses, ALIKE)
    assert mixture.proportions[4:].tolist() == [0.3, 0.0]
    assert mixture.proportions[:4] == pytest.approx(0.7 * alone.proportions, rel=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_state_goes_on_to_the_bit(rule: LossRule) -> None:
    whole, rest = made(rule), made(rule)
    steps = list(losses_of(50))
    for losses in steps[:20]:
        whole.update(losses, ALIKE)
    rest.load_state_dict(json.loads(json.dumps(whole.state_dict(), allow_nan=False)))
    assert rest.proportions.tolist() == whole.proportions.tolist()
    for losses in steps[20:]:
        for mixture in (whole, rest):
            mixture.update(losses, ALIKE)
        assert rest.proportions.tolist() == whole.proportions.tolist()
    assert rest.state_dict() == whole.state_dict()
