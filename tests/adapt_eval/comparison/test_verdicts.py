"""What a verdict may claim: a fall below guessing, equivalence, too few items, tiny benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapt_eval.comparison.schema import Comparison
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import coins, compared, made_run


def shares(right: int, items: int) -> list[float]:
    return [1.0] * right + [0.0] * (items - right)


def both(folder: Path, base: dict[str, list[float]], new: dict[str, list[float]]) -> Comparison:
    return compared(made_run(folder / "base", base), made_run(folder / "new", new))


def test_a_fall_below_the_floor_by_more_than_error_is_a_regression(
    tmp_path: Path, command: Command
) -> None:
    random = np.random.default_rng(0)
    base = made_run(tmp_path / "base", {"sums": shares(2067, 3270)}, chance=0.62)
    fallen = list(random.permutation(shares(1341, 3270)))
    new = made_run(tmp_path / "new", {"sums": fallen}, chance=0.62)
    result = compared(base, new)
    assert result.benchmarks[0].at_chance.a is False
    assert result.benchmarks[0].verdict == result.suite.verdict == "worse"
    assert command("compare", base, new, "--fail-on", "regression").returncode == 3


def test_between_random_guessing_and_the_floor_is_still_guessing(tmp_path: Path) -> None:
    """A coin on BoolQ is right in half of the cases, always-yes in 62 %: both guess."""
    options = {"chance": 0.5, "floor": 0.62}
    coin = made_run(tmp_path / "coin", {"sums": coins(1, 3270, 0.5)}, **options)
    yes = made_run(tmp_path / "yes", {"sums": shares(2030, 3270)}, **options)
    assert compared(coin, yes).benchmarks[0].verdict == "at chance"
    no = made_run(tmp_path / "no", {"sums": shares(1240, 3270)}, **options)
    assert compared(yes, no).benchmarks[0].verdict == "worse"


def test_a_true_effect_of_the_smallest_that_matters_is_hardly_ever_called_equivalent() -> None:
    """Nominal 5 % after two one-sided tests; 52 % of such suites were called without difference."""
    from adapt_eval.comparison.benchmark import compare_pairs
    from adapt_eval.comparison.pairing import Pairs

    random = np.random.default_rng(7)
    called, smallest = 0, 0.03
    for _ in range(1000):
        left = random.uniform(size=1500)
        a = (left < 0.53).astype(float)
        moved = random.uniform(size=1500) < 0.2
        b = np.where(moved, random.uniform(size=1500) < 0.35, a).astype(float)
        # E[a - b] = 0.2 (0.53 - 0.35) = 0.036; cut to 0.03 by as many items that b alone has.
        b = np.where((b == 0) & (random.uniform(size=1500) < 0.006 / 0.506), 1.0, b)
        one = compare_pairs(Pairs(a, b, None, (0, 0)), 0.0, smallest)
        called += one.p_equivalence < 0.05
    assert called / 1000 == pytest.approx(0.05, abs=0.025)


def test_equivalence_is_what_the_verdict_says_and_holds_after_correction(tmp_path: Path) -> None:
    same = coins(1, 20_000, 0.5)
    nearly = [1 - one if number % 100 == 0 else one for number, one in enumerate(same)]
    line = both(tmp_path, {"sums": same}, {"sums": nearly}).benchmarks[0]
    assert line.verdict == "equivalent (effects above 3.0 points ruled out)"
    assert line.p_equivalence_holm < 0.05
    # The same power, but a difference of nearly what matters: neither different nor equivalent.
    few = coins(2, 1000, 0.5)
    lower = list(few)
    turned = [number for number, one in enumerate(few) if one == 1][:55]
    gained = [number for number, one in enumerate(few) if one == 0][:38]
    for number in turned:
        lower[number] = 0.0
    for number in gained:
        lower[number] = 1.0
    line = both(tmp_path / "close", {"sums": few}, {"sums": lower}).benchmarks[0]
    assert line.p_value > 0.05
    assert line.minimum_detectable_effect < 0.03
    assert line.verdict == "undecided"


def test_five_items_all_won_are_too_few_for_a_verdict(tmp_path: Path) -> None:
    line = both(tmp_path, {"sums": [0.0] * 5}, {"sums": [1.0] * 5}).benchmarks[0]
    assert line.verdict == "underpowered"
    assert "fewer than 10" in line.note
    assert line.ci_high <= 1


def test_a_tiny_benchmark_does_not_rule_the_weighted_companion(tmp_path: Path) -> None:
    base = {
        "sums": coins(1, 3000, 0.5),
        "logic": coins(2, 3000, 0.5),
        "passages": coins(3, 20, 0.5),
    }
    new = {"sums": coins(4, 3000, 0.56), "logic": coins(5, 3000, 0.56), "passages": shares(4, 20)}
    suite = both(tmp_path, base, new).suite
    assert suite.p_value > 0.05
    assert suite.weighted is not None
    assert suite.weighted.p_value < 0.001
    assert suite.weighted.difference == pytest.approx(0.06, abs=0.02)


def test_the_detectable_effect_after_correction_is_larger(tmp_path: Path) -> None:
    base = {"sums": coins(1, 800, 0.5), "logic": coins(2, 800, 0.5)}
    new = {"sums": coins(3, 800, 0.5), "logic": coins(4, 800, 0.5)}
    result = both(tmp_path, base, new)
    for one in result.benchmarks:
        # Two benchmarks: 2.2414 (0.9875) + 0.8416 (0.8) standard errors, for many items.
        wanted = (2.2414 + 0.8416) * one.standard_error
        assert one.detectable_after_holm == pytest.approx(wanted, rel=0.01)
    assert result.suite.detectable_after_holm == pytest.approx(
        2.80 * result.suite.standard_error, rel=0.01
    )


def test_benchmarks_on_which_no_item_differs_make_no_suite_equivalent(tmp_path: Path) -> None:
    """Two of 40 items, all wrong in both: that says little, so neither does their mean with a
    benchmark of 3,000 items that is all but alike."""
    alike, nothing = coins(1, 3000, 0.5), [0.0] * 40
    other = [1 - value if number % 500 == 0 else value for number, value in enumerate(alike)]
    runs = [
        made_run(tmp_path / name, {"sums": scores, "logic": nothing, "passages": nothing})
        for name, scores in (("a", alike), ("b", other))
    ]
    result = compared(*runs, smallest_effect=0.03)
    (suite,) = result.suites
    assert suite.p_equivalence > 0.05
    assert not suite.verdict.startswith("equivalent")
