"""The learned mixture."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from adapt_axolotl.mixture.gradient_steps import SCORE_CLIP, STEP_SIZE, GradientSteps
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.meta_update import MetaUpdate
from adapt_axolotl.mixture.objectives.named import OBJECTIVES, objective
from adapt_axolotl.mixture.observed import LEAST_FIRST_LOSS

TASKS = ("a", "b", "c", "d")
LOSSES = np.array([1.0, 2.5, 0.4, 1.7])
FIRST = np.array([3.0, 2.6, 3.1, 2.0])
NO_ERROR = np.zeros(4)


def make(name: str = "relative", **changes) -> LearnedMixture:
    """By the paper's rule."""
    needed = {"excess": {"reference_losses": [0.1] * 4}, "worst_group": {"groups": [0, 0, 1, 2]}}
    steps = {key: changes.pop(key) for key in ("step_size", "entropy_weight") if key in changes}
    mixture = LearnedMixture(
        TASKS,
        objective(name, **needed.get(name, {})),
        steps=GradientSteps(**steps),
        **changes,
    )
    mixture.observe(FIRST)
    return mixture


def by_evidence(count: int = 4, targets: list[bool] | None = None, **changes) -> LearnedMixture:
    names = [f"task_{number}" for number in range(count)]
    mixture = LearnedMixture(names, objective("mean", targets=targets), **changes)
    mixture.observe(np.ones(count))
    return mixture


def settled(mixture: LearnedMixture, falls: np.ndarray) -> MetaUpdate:
    """What many meta steps lead to that find these falls, without noise."""
    for step in range(40):
        update = mixture.update_by_falls(falls, np.full(len(falls), 1e-6), step=step, freedom=100)
    return update


@pytest.mark.parametrize("name", ["worst_case", "paper", "relative", "mean", "cvar", "alpha_fair"])
def test_an_objective_over_targets_is_that_of_a_mixture_of_these_tasks(name: str) -> None:
    """Its value, and the weights of the other tasks are 0."""
    targets = np.array([True, False, True, True])
    mixture = LearnedMixture("abcd", objective(name, targets=targets.tolist()))
    alone = LearnedMixture("acd", objective(name))
    mixture.observe(FIRST)
    alone.observe(FIRST[targets])
    weights = mixture.observe(LOSSES)
    assert weights[~targets].tolist() == [0.0]
    assert weights[targets] == pytest.approx(alone.observe(LOSSES[targets]), rel=1e-12)
    assert mixture.losses.value() == pytest.approx(alone.losses.value(), rel=1e-12)


def test_by_falls_the_targets_get_what_the_floor_leaves() -> None:
    targets = [True, True, False, False]
    mixture = by_evidence(targets=targets, entropy_weight=1e-9, floor=0.2)
    falls = np.array([3.0, 1.0, 5.0, 5.0])
    shares = settled(mixture, falls).proportions
    assert shares[2:] == pytest.approx(0.2 / 4, abs=0.02)  # a worth of 0.05 is the least believed
    assert shares[0] > 2 * shares[1]


@pytest.mark.parametrize("count", [3, 20, 50])
@pytest.mark.parametrize("targets", [1, 2])
def test_targets_need_the_same_evidence_whatever_the_number_of_other_tasks(
    count: int, targets: int
) -> None:
    """Three standard errors of a fall, or of the difference of two."""
    chosen = [number < targets for number in range(count)]
    mixture = by_evidence(count, targets=chosen, floor=0.0, entropy_weight=0.25)
    falls = np.where(chosen, [1.0, 0.1][:targets] + [0.0] * (count - targets), 0.7)
    errors = np.full(count, 0.3 if targets == 1 else 0.2)
    for step in range(8):
        update = mixture.update_by_falls(falls, errors, step=step, freedom=200)
    assert update.proportions[:targets].sum() > 0.6
    assert np.isnan(update.deviations[targets:]).all()
    if targets == 2:
        assert update.proportions[0] > 1.2 * update.proportions[1]
        assert update.over_noise == pytest.approx(3.2, abs=0.3)


@pytest.mark.parametrize("steps", [None, GradientSteps()])
def test_a_target_that_is_not_trained_on_moves_the_others_as_if_it_were_not_there(
    steps: GradientSteps | None,
) -> None:
    """Its products are unknown and its share stays 0; the others follow theirs."""
    rng = np.random.default_rng(0)
    names, target = [f"task_{number}" for number in range(5)], np.arange(5) == 4
    initial, worth = np.array([0.1, 0.2, 0.3, 0.4]), np.array([2.0, 1.0, 0.5, 1.0])
    alone = LearnedMixture(names[:4], objective("mean"), steps=steps, initial=initial)
    alone.observe(np.ones(4))
    mixture = LearnedMixture(
        names,
        objective("worst_case", targets=target),
        steps=copy.deepcopy(steps),
        initial=np.append(initial, 0.0),
    )
    assert mixture.observe(np.ones(5), target).tolist() == [0, 0, 0, 0, 1]
    for step in range(6):
        products, errors = worth + 0.1 * rng.normal(size=4), np.full(4, 0.1)
        mixture.update(np.append(products, np.nan), np.append(errors, np.nan), step=step)
        alone.update(products, errors, step=step)
        assert mixture.proportions[4] == 0
        assert mixture.proportions[:4] == pytest.approx(alone.proportions, rel=1e-12)
    assert np.ptp(mixture.proportions[:4] / initial) > 0.05


def test_a_useful_task_gains_and_a_harmful_one_loses() -> None:
    mixture = make()
    before = mixture.proportions
    update = mixture.update(np.array([2.0, 0.0, 0.0, -2.0]), NO_ERROR, step=0)
    assert update.proportions[0] > before[0]
    assert update.proportions[3] < before[3]
    assert update.scores.tolist() == [-2, 0, 0, 2]


def test_the_step_is_the_literal_formula() -> None:
    mixture = make(step_size=0.3, entropy_weight=0.2, floor=0.0)
    logits = np.zeros(4)
    mean_square = 0.0
    rng = np.random.default_rng(0)
    for number in range(5):
        # Of mean below its noise, so that nothing is known of the errors but what they say.
        useful, errors = rng.normal(size=4) - 1, 1 + rng.random(4)
        p = np.exp(logits) / np.exp(logits).sum()
        centred = useful - (p * useful).sum()
        mean_square = 0.9 * mean_square + 0.1 * (centred**2).mean()
        size = np.sqrt(mean_square / (1 - 0.9 ** (number + 1)))
        z = np.clip(centred / size * centred**2 / (centred**2 + errors**2), -3, 3)
        logits = logits + 0.3 * (z - 0.2 * (logits - logits.mean()))
        logits -= logits.mean()
        update = mixture.update(useful, errors, step=number)
        assert update.logits == pytest.approx(logits, rel=1e-12)


def test_the_step_follows_the_natural_gradient_of_the_paper() -> None:
    """Without standardising, -dJ/da_i / p_i is (z_i - lambda a_i) up to a constant."""
    from adapt_axolotl.mixture.simplex import entropy, softmax

    logits = np.array([0.2, -0.4, 0.1, 0.1])
    s, weight = np.array([0.3, -0.1, 0.05, 0.4]), 0.15
    p = softmax(logits)
    gradient = p * (s - (p * s).sum()) + weight * p * (np.log(p) + entropy(p))
    natural = -gradient / p
    ours = -(s - (p * s).sum()) - weight * logits
    assert natural - ours == pytest.approx(np.full(4, (natural - ours)[0]), abs=1e-12)


def test_the_scale_of_the_scores_cancels() -> None:
    small, large = make(), make()
    rng = np.random.default_rng(1)
    for step in range(10):
        useful, errors = rng.normal(size=4), rng.random(4)
        small.update(1e-6 * useful, 1e-6 * errors, step=step)
        large.update(1e6 * useful, 1e6 * errors, step=step)
    assert small.proportions == pytest.approx(large.proportions, rel=1e-9)


def test_a_score_that_stays_settles_at_its_ratio_to_the_pull() -> None:
    mixture = make(entropy_weight=0.5, floor=0.0)
    for step in range(400):
        before = mixture.update(np.array([1.0, 0.0, 0.0, -1.0]), NO_ERROR, step=step).logits
    update = mixture.update(np.array([1.0, 0.0, 0.0, -1.0]), NO_ERROR, step=400)
    assert update.logits == pytest.approx(before, abs=1e-9)
    # All of the score is signal: z is its ratio to its root mean square.
    p = mixture.proportions
    z = np.array([1.0, 0.0, 0.0, -1.0]) - (p[0] - p[3])
    expected = (z[0] - z[1]) / np.sqrt((z**2).mean()) / 0.5
    assert update.logits[0] - update.logits[1] == pytest.approx(expected, rel=1e-3)


def test_honest_standard_errors_keep_noise_from_walking() -> None:
    def wander(with_errors: bool) -> float:
        squares = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            mixture = make()
            # Four equal tasks: the scores are nothing but their errors.
            for step in range(60):
                errors = np.ones(4) if with_errors else NO_ERROR
                mixture.update(rng.normal(size=4), errors, step=step)
            squares.append((np.log(4 * mixture.proportions) ** 2).mean())
        return float(np.sqrt(np.mean(squares)))

    assert wander(with_errors=True) < 0.7 * wander(with_errors=False)


def test_a_task_without_a_usable_loss_is_left_out_and_counted() -> None:
    mixture = make()
    weights = mixture.observe(np.array([1.0, np.nan, np.inf, 1.0]))
    assert weights[1] == weights[2] == 0
    assert weights[0] > 0
    assert np.isfinite(weights).all()
    assert mixture.losses.skipped.tolist() == [0, 1, 1, 0]
    update = mixture.update(np.array([1.0, np.nan, np.nan, -1.0]), NO_ERROR, step=0)
    assert np.isfinite(update.proportions).all()
    assert np.isfinite(update.objective)
    assert np.isnan(update.validation_losses[1:3]).all()
    assert not mixture.observe(np.full(4, np.nan)).any()


def test_a_task_left_out_is_not_moved_by_a_score_that_v_gave_it() -> None:
    """Its logit stays where it is against a task of score 0; its last score ages."""
    mixture = make(entropy_weight=0.0, floor=0.0)
    mixture.update(np.array([1.0, 2.0, 3.0, 4.0]), NO_ERROR, step=0)
    before = mixture.update(np.full(4, np.nan), NO_ERROR, step=1).logits
    mixture.observe(np.array([1.0, np.inf, 1.0, 1.0]))
    update = mixture.update(np.array([1.0, 500.0, 1.0, 1.0]), NO_ERROR, step=2)
    moved = update.logits - before
    assert moved == pytest.approx(np.zeros(4), abs=1e-12)  # the others are equal: they stay too
    assert update.scores[1] == -2.0
    assert update.ages[1] == 2
    assert "Infinity" not in json.dumps(mixture.state_dict())


def test_a_task_solved_from_the_start_does_not_own_the_direction() -> None:
    mixture = LearnedMixture(TASKS, objective("relative"))
    mixture.observe(np.array([3.0, 2.0, 2.0, 0.0]))
    weights = mixture.observe(np.array([2.0, 1.5, 1.5, 0.001]))
    assert weights[3] <= 0.5 / LEAST_FIRST_LOSS
    assert weights[3] < 10 * weights[:3].max()


def test_a_score_of_infinite_error_is_no_measurement() -> None:
    mixture = make()
    errors = np.array([np.inf, 0.0, 0.0, 0.0])
    update = mixture.update(np.array([1.0, 2.0, 3.0, 4.0]), errors, step=0)
    assert np.isnan(update.scores[0])
    assert np.isnan(update.returns[0])


def test_no_score_moves_further_than_the_clip() -> None:
    mixture = make(entropy_weight=0.0, floor=0.0)
    small = np.array([1.0, -1.0, 1.0, -1.0])
    for step in range(30):  # the running scale is small by then
        before = mixture.update(small * (-1) ** step, NO_ERROR, step=step).logits
    after = mixture.update(np.array([90.0, 0.0, 0.0, 0.0]), NO_ERROR, step=30).logits
    moved = after - before
    others = moved[1:].mean()
    assert moved[0] - others <= STEP_SIZE * 2 * SCORE_CLIP


def test_one_score_alone_moves_nothing() -> None:
    mixture = make()
    mixture.update(np.array([1.0, 2.0, 3.0, 4.0]), NO_ERROR, step=0)
    before = mixture.proportions
    update = mixture.update(np.array([9.0, np.nan, np.nan, np.nan]), NO_ERROR, step=1)
    assert (mixture.proportions == before).all()
    assert update.scores[0] == -9


def test_a_score_without_an_error_is_shrunk_as_the_others_are() -> None:
    useful = np.array([3.0, -1.0, -1.0, -1.0])

    def moved(errors: np.ndarray) -> float:
        logits = make(entropy_weight=0.0, floor=0.0).update(useful, errors, step=0).logits
        return float(logits[0] - logits[1])

    trusted, none = moved(NO_ERROR), moved(np.full(4, np.nan))
    assert none == pytest.approx(trusted)
    assert moved(np.array([np.nan, 1.0, 1.0, 1.0])) == pytest.approx(trusted / 2)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_in_the_mixture_stays_on_the_simplex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strange = [np.nan, np.inf, -np.inf, 0.0, 1e300, 1e-300]
    mixture = LearnedMixture(TASKS, objective("relative"), floor=0.2)
    for step in range(60):
        losses, useful, errors = rng.random(4) * 3, rng.normal(size=4), rng.random(4)
        for values in (losses, useful, errors):
            hit = rng.random(4) < 0.3
            values[hit] = rng.choice(strange, hit.sum())
        assert np.isfinite(mixture.observe(np.abs(losses))).all()
        update = mixture.update(useful, np.abs(errors), step=step)
        assert update.proportions.sum() == pytest.approx(1, abs=1e-12)
        assert update.proportions.min() >= 0.2 / 4 - 1e-12
        assert np.isfinite(update.logits).all()
        assert np.isfinite(update.entropy)
        json.dumps(mixture.state_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"floor": 1.5}, "adapt.floor: 1.5 is no part .* between 0 and 1"),
        ({"step_size": 0.0}, "step_size 0.0 must be above 0"),
        ({"step_size": 0.5, "entropy_weight": 5.0}, "is over 1, which overshoots"),
    ],
)
def test_settings_that_cannot_learn_are_refused(setting: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**setting)


def test_an_absent_task_keeps_its_score_with_its_age() -> None:
    mixture = make()
    mixture.update(np.array([1.0, 2.0, 3.0, 4.0]), NO_ERROR, step=0)
    update = mixture.update(np.array([1.0, np.nan, 3.0, 4.0]), NO_ERROR, step=1)
    assert update.scores.tolist() == [-1, -2, -3, -4]
    assert update.ages.tolist() == [0, 1, 0, 0]


def test_nothing_measured_moves_nothing() -> None:
    mixture = make()
    mixture.update(np.array([1.0, 2.0, 3.0, 4.0]), NO_ERROR, step=0)
    before = mixture.proportions
    mixture.update(np.full(4, np.nan), np.full(4, np.nan), step=1)
    assert (mixture.proportions == before).all()


def test_no_share_falls_below_the_floor() -> None:
    mixture = make(floor=0.4, entropy_weight=0.0)
    for step in range(200):
        mixture.update(np.array([5.0, 0.0, 0.0, 0.0]), NO_ERROR, step=step)
    assert mixture.proportions.min() == pytest.approx(0.4 / 4, rel=1e-2)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_restored_mixture_goes_on_to_the_bit(name: str) -> None:
    rng = np.random.default_rng(3)
    inputs = [(rng.random(4) * 3, rng.normal(size=4), rng.random(4)) for _ in range(20)]
    inputs[4][0][1] = np.nan
    inputs[7][1][2] = np.nan
    whole, part = make(name), make(name)
    for step, (losses, useful, errors) in enumerate(inputs):
        for mixture in (whole, part):
            mixture.observe(losses)
            mixture.update(useful, errors, step=step)
        if step == 9:
            state = json.loads(json.dumps(part.state_dict(), allow_nan=False))
            part = make(name)
            part.load_state_dict(state)
    assert (part.proportions == whole.proportions).all()
    assert part.state_dict() == whole.state_dict()


def test_a_state_of_other_tasks_is_refused() -> None:
    other = LearnedMixture(("x", "y"), objective("mean"))
    with pytest.raises(ValueError, match="checkpoint: x, y; only in the recipe: a, b, c, d; rest"):
        make().load_state_dict(other.state_dict())
    turned = LearnedMixture(TASKS[::-1], objective("mean"))
    with pytest.raises(ValueError, match="another order; restore"):
        make().load_state_dict(turned.state_dict())


def test_an_unlearnable_task_starves_by_default_but_not_under_the_papers_objective() -> None:
    """A toy of losses that fall with the tokens spent; task d never falls but is the largest."""
    late = np.array([0.5, 0.5, 0.5, 4.0])
    mixtures = {name: LearnedMixture(TASKS, objective(name)) for name in ("relative", "paper")}
    for mixture in mixtures.values():
        mixture.observe(np.array([3.0, 3.0, 3.0, 4.0]))
    assert mixtures["paper"].observe(late)[3] > 0.99

    def share_of_noise(name: str) -> float:
        mixture = LearnedMixture(TASKS, objective(name), steps=GradientSteps())
        losses = np.array([3.0, 3.0, 3.0, 4.0])
        rng = np.random.default_rng(0)
        share = []
        for step in range(80):
            weights = mixture.observe(losses)
            # A learnable task is aligned with its own part of v. Noise transfers to nothing, not
            # even from its training rows to its validation rows, but its part of v disturbs all.
            alignment = np.array([1.0, 1.0, 1.0, 0.0]) * weights
            disturbance = rng.normal(size=4) * 0.2 * weights[3]
            mixture.update(alignment + disturbance, np.full(4, 0.2 * weights[3]), step=step)
            losses[:3] *= 1 - 0.03 * mixture.proportions[:3] * 4
            share.append(mixture.proportions[3])
        return float(np.mean(share))

    assert share_of_noise("relative") < 0.6 * share_of_noise("paper")


def test_losses_that_are_not_news_stay_and_the_weights_are_those_of_all() -> None:
    mixture = LearnedMixture(TASKS, objective("relative"))
    assert mixture.weights == pytest.approx(np.full(4, 0.25))
    first = mixture.observe(np.array([2.0, 2.0, 2.0, 2.0]))
    second = mixture.observe(
        np.array([4.0, np.nan, np.nan, np.nan]), np.array([True, False, False, False])
    )
    assert (second == mixture.weights).all()
    assert second[0] > first[0]
    assert (second[1:] > 0).all()
    assert mixture.losses.skipped.sum() == 0


def test_what_was_measured_before_moves_nothing_again() -> None:
    """A score is worth something beside others along the same v only."""
    mixture = make(entropy_weight=0.0, floor=0.0)
    after = mixture.update(np.array([1.0, 2.0, np.nan, np.nan]), NO_ERROR, step=0).logits
    only = mixture.update(np.array([np.nan, np.nan, 5.0, 5.0]), NO_ERROR, step=1).logits
    assert only == pytest.approx(after)


@pytest.mark.parametrize(("count", "at_once"), [(64, 9), (20, 10), (20, 20)])
def test_without_a_signal_the_mixture_by_evidence_stays_within_5_percent(
    count: int, at_once: int
) -> None:
    """A tenth of the seeds may go beyond; half of the noise is unknown to the errors."""
    far = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mixture = by_evidence(count, floor=0.0)
        for step in range(37):
            useful, errors = np.full((2, count), np.nan)
            turn = rng.permutation(count)[:at_once]
            useful[turn] = 1 + rng.normal(size=at_once) * 0.4
            errors[turn] = 0.28
            mixture.update(useful, errors, step=step)
        far.append(np.abs(count * mixture.proportions - 1).max())
    assert np.quantile(far, 0.9) < 0.05


def test_a_signal_is_found_again_by_other_noise() -> None:
    worth = np.random.default_rng(0).normal(size=20) * 0.4
    found = []
    for seed in range(2):
        rng = np.random.default_rng(1 + seed)
        mixture = by_evidence(20, floor=0.0)
        for step in range(12):
            mixture.update(1 + worth + rng.normal(size=20) * 0.4, np.full(20, 0.28), step=step)
        found.append(np.log(mixture.proportions))
    assert np.corrcoef(*found)[0, 1] > 0.8
    assert np.corrcoef(found[0], worth)[0, 1] > 0.8


def test_by_evidence_a_task_worth_twice_as_much_gets_its_power_of_the_share() -> None:
    for weight in (1.0, 2.0):
        mixture = by_evidence(entropy_weight=weight, floor=0.0)
        worth = np.array([2.0, 1.0, 0.5, 0.5])  # measured at the uniform mixture: mean 1
        for step in range(200):
            update = mixture.update(worth, np.full(4, 1e-3), step=step)
        believed = worth / (mixture.proportions @ worth)
        ratio = believed[0] / believed[1]
        assert np.exp(update.logits[0] - update.logits[1]) == pytest.approx(
            ratio ** (1 / weight), rel=0.1
        )


def test_one_fit_moves_the_logits_half_of_the_way() -> None:
    """And one that does not stand out from noise leaves half of what others had found."""
    falls, exact, vague = np.array([1.0, 2.0, 1.0, 4.0]), np.full(4, 1e-6), np.ones(4)
    goal = settled(by_evidence(floor=0.0), falls).logits
    mixture = by_evidence(floor=0.0)
    found = [
        mixture.update_by_falls(falls, errors, step=step, freedom=100).logits
        for step, errors in enumerate((exact, exact, vague))
    ]
    assert found[0] == pytest.approx(goal / 2, rel=1e-6)
    assert found[1] == pytest.approx(goal * 3 / 4, rel=1e-6)
    assert found[2] == pytest.approx(goal * 3 / 8, rel=1e-6)


def test_falls_by_own_tokens_lead_to_the_least_objective() -> None:
    """V_k = a_k - f_k log n_k: the shares that minimise sum_k w_k V_k are those of w_k f_k, and
    p0 r^1 is there, from whatever shares a run starts."""
    initial = np.array([0.1, 0.2, 0.3, 0.4])
    falls = np.array([1.0, 2.0, 1.0, 4.0])
    mixture = by_evidence(initial=initial, entropy_weight=1e-9, floor=0.0)
    update = settled(mixture, falls)
    assert update.returns == pytest.approx(falls / falls.sum() / initial, rel=1e-6)
    assert update.proportions == pytest.approx(falls / falls.sum(), rel=1e-3)


def test_falls_by_own_tokens_lead_there_too_where_shares_count_rows() -> None:
    """Tasks alike but for rows of 1 and of 10 tokens: each is to have half of the tokens."""
    row_tokens = np.array([1.0, 10.0])
    mixture = by_evidence(2, entropy_weight=1e-9, floor=0.0, row_tokens=row_tokens)
    update = settled(mixture, np.full(2, 0.5))
    tokens = update.proportions * row_tokens
    assert tokens / tokens.sum() == pytest.approx([0.5, 0.5], rel=1e-3)


def test_the_entropy_weight_holds_the_mixture_at_its_initial_one() -> None:
    initial = np.array([0.4, 0.6])
    falls = np.array([3.0, 1.0])
    for weight in (0.5, 1.0, 4.0):
        mixture = by_evidence(2, initial=initial, entropy_weight=weight, floor=0.0)
        update = settled(mixture, falls)
        part = 1 / (1 + weight)
        wanted = (falls / falls.sum()) ** part * initial ** (1 - part)
        assert update.proportions == pytest.approx(wanted / wanted.sum(), rel=1e-3)


def test_falls_with_mutual_transfer_are_worth_the_gradient_products() -> None:
    """G symmetric and weights alike at uniform shares: the fall of a task is what a token of it
    does for all."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 9))
    transfer = features @ features.T + 5
    shares = np.full(4, 0.25)
    mixture = by_evidence()
    update = mixture.update_by_falls(transfer @ shares, np.full(4, 1e-6), step=0)
    worth = transfer.T @ np.full(4, 0.25)
    assert update.returns == pytest.approx(worth / worth.mean(), rel=1e-6)


def test_a_mixture_that_lowers_nothing_beyond_noise_says_nothing_of_its_parts() -> None:
    mixture = by_evidence()
    update = mixture.update_by_falls(np.array([0.1, -0.1, 0.05, 0.0]), np.full(4, 0.2), step=0)
    assert np.isnan(update.returns).all()
    assert mixture.proportions == pytest.approx(np.full(4, 0.25))


def test_it_starts_at_the_initial_mixture_and_its_floor_is_a_part_of_it() -> None:
    initial = np.array([0.7, 0.1, 0.1, 0.1])
    mixture = by_evidence(initial=initial, floor=0.5)
    assert mixture.proportions == pytest.approx(initial)
    for step in range(20):
        mixture.update(np.array([0.0, 0.0, 0.0, 9.0]), np.full(4, 1e-3), step=step)
    assert (mixture.proportions >= 0.5 * initial - 1e-12).all()
    assert mixture.proportions[3] > 0.25


def test_by_evidence_a_restored_mixture_goes_on_to_the_bit() -> None:
    rng = np.random.default_rng(3)
    inputs = [(rng.random(4), rng.random(4) * 0.2) for _ in range(20)]
    inputs[7][0][2] = np.nan
    whole, part = by_evidence(), by_evidence()
    for step, (falls, errors) in enumerate(inputs):
        for mixture in (whole, part):
            mixture.update_by_falls(falls, errors, step=step)
        if step == 9:
            state = json.loads(json.dumps(part.state_dict(), allow_nan=False))
            part = by_evidence()
            part.load_state_dict(state)
    assert (part.proportions == whole.proportions).all()
    assert part.state_dict() == whole.state_dict()


def test_a_fixed_share_stays_and_the_others_learn_to_share_the_rest() -> None:
    initial = np.array([0.4, 0.2, 0.2, 0.2])
    fixed = np.array([True, False, False, False])
    mixture = by_evidence(initial=initial, fixed=fixed)
    assert mixture.proportions == pytest.approx(initial)
    shares = settled(mixture, np.array([9.0, 3.0, 1.0, 1.0])).proportions
    assert shares[0] == pytest.approx(0.4)
    assert shares.sum() == pytest.approx(1)
    assert shares[1] > 1.5 * shares[2]
    assert shares[1:].min() > 0.1 * 0.2


def test_nothing_that_holds_the_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match="set it above 0, or choose rule: steps"):
        by_evidence(entropy_weight=0.0)
