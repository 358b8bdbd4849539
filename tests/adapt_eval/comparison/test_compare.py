"""What a comparison says, item by item and over benchmarks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from adapt_eval.comparison.items import Items
from adapt_eval.comparison.pairing import pair
from adapt_eval.comparison.schema import Spent
from adapt_eval.report import rows
from adapt_eval.report.words import remarks
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import coins, compared, made_ledger, made_run


def test_a_difference_is_run_minus_baseline_and_its_error_scipys(tmp_path: Path) -> None:
    a, b = coins(1, 300, 0.6), coins(2, 300, 0.4)
    result = compared(
        made_run(tmp_path / "base", {"sums": b}), made_run(tmp_path / "new", {"sums": a})
    )
    (line,) = result.benchmarks
    assert (result.baseline, line.run) == ("base", "new")
    assert line.difference == pytest.approx(np.mean(a) - np.mean(b), rel=1e-12)
    test = stats.ttest_rel(a, b)
    assert line.difference / line.standard_error == pytest.approx(test.statistic, rel=1e-12)
    interval = test.confidence_interval()
    assert (line.ci_low, line.ci_high) == pytest.approx((interval.low, interval.high))
    assert line.verdict == "better"
    assert line.wins + line.ties + line.losses == 300
    assert line.test == "McNemar mid-p"
    wins, losses = line.wins, line.losses
    exact = stats.binomtest(wins, wins + losses).pvalue
    assert line.p_exact == pytest.approx(exact, rel=1e-9)
    assert line.p_value < line.p_exact


def test_the_baseline_can_be_named_and_the_verdict_turns(tmp_path: Path) -> None:
    base = made_run(tmp_path / "base", {"sums": coins(2, 300, 0.4)})
    new = made_run(tmp_path / "new", {"sums": coins(1, 300, 0.6)})
    assert compared(base, new, baseline="new").benchmarks[0].verdict == "worse"
    with pytest.raises(ValueError, match="no such run; there are base, new"):
        compared(base, new, baseline="old")


def test_items_are_paired_by_document_not_by_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    scores = coins(3, 40, 0.5)
    long = made_run(tmp_path / "long", {"sums": scores})
    short = made_run(tmp_path / "short", {"sums": scores[:25]})
    result = compared(long, short)
    (line,) = result.benchmarks
    assert (line.n, line.difference, line.unmatched) == (25, 0.0, (0, 15))
    assert "15 items are in one run only and were left out" in result.notes


def test_equal_documents_are_paired_by_occurrence() -> None:
    def items(keys: list[str], scores: list[float]) -> Items:
        seen = [("sums", "none", key, keys[:number].count(key)) for number, key in enumerate(keys)]
        same = [""] * len(keys)
        return Items(seen, np.array(scores), same, same, same)

    a = items(["x", "y", "x"], [1.0, 0.0, 0.5])
    b = items(["y", "x", "x"], [0.0, 1.0, 0.5])
    pairs = pair(a, b, "sums")
    assert list(pairs.a) == [1.0, 0.0, 0.5]
    assert list(pairs.b) == [1.0, 0.0, 0.5]


def test_documents_in_another_order_are_paired_all_the_same(tmp_path: Path) -> None:
    scores = coins(3, 40, 0.5)
    numbers = list(range(40))
    straight = made_run(tmp_path / "straight", {"sums": scores}, order=numbers)
    turned = made_run(tmp_path / "turned", {"sums": scores[::-1]}, order=numbers[::-1])
    (line,) = compared(straight, turned).benchmarks
    assert (line.n, line.wins, line.losses) == (40, 0, 0)


def test_the_suite_is_the_unweighted_mean_with_the_root_of_squares(tmp_path: Path) -> None:
    base = {"sums": coins(1, 50, 0.5), "logic": coins(2, 400, 0.5), "passages": coins(3, 90, 0.5)}
    new = {"sums": coins(4, 50, 0.6), "logic": coins(5, 400, 0.6), "passages": coins(6, 90, 0.5)}
    result = compared(made_run(tmp_path / "base", base), made_run(tmp_path / "new", new))
    parts = result.benchmarks
    suite = result.suite
    assert suite.difference == pytest.approx(np.mean([one.difference for one in parts]))
    squares = sum(one.standard_error**2 for one in parts)
    assert suite.standard_error == pytest.approx(math.sqrt(squares) / 3, rel=1e-12)
    assert suite.minimum_detectable_effect == pytest.approx(2.8 * suite.standard_error)
    reach = max(abs(suite.ci_low), abs(suite.ci_high))
    assert suite.ruled_out_above == pytest.approx(reach, rel=0.02)
    families = {one.family: one for one in result.families}
    reasoning = [one.difference for one in parts if one.family == "reasoning"]
    assert families["reasoning"].difference == pytest.approx(np.mean(reasoning))


def test_benchmarks_are_corrected_over_runs_too(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / name, {"sums": coins(n, 200, 0.5), "logic": coins(n + 9, 200, 0.5)})
        for n, name in enumerate(("base", "one", "two"))
    ]
    lines = compared(*runs).benchmarks
    smallest = min(lines, key=lambda one: one.p_value)
    assert len(lines) == 4
    assert smallest.p_holm == pytest.approx(min(1.0, 4 * smallest.p_value))


def test_clusters_widen_the_interval_and_decide_the_test(tmp_path: Path) -> None:
    a = list(np.repeat(coins(1, 30, 0.6), 10))
    b = list(np.repeat(coins(2, 30, 0.4), 10))
    passages = {"passages": [f"passage {n // 10}" for n in range(300)]}
    apart = compared(
        made_run(tmp_path / "base", {"passages": b}), made_run(tmp_path / "new", {"passages": a})
    ).benchmarks[0]
    together = compared(
        made_run(tmp_path / "base2", {"passages": b}, clusters=passages),
        made_run(tmp_path / "new2", {"passages": a}, clusters=passages),
    ).benchmarks[0]
    assert together.test == "clustered t"
    assert together.df == 29
    assert together.standard_error > 2.5 * apart.standard_error
    # Ten copies of an item are one item: the p-value is that of 30.
    assert together.p_value == pytest.approx(stats.ttest_rel(a[::10], b[::10]).pvalue)


def test_seeds_are_averaged_by_item_first_and_their_spread_is_shown(tmp_path: Path) -> None:
    base = [made_run(tmp_path / f"b{n}", {"sums": coins(n, 80, 0.4)}) for n in range(3)]
    new = [made_run(tmp_path / f"n{n}", {"sums": coins(n + 9, 80, 0.5)}) for n in range(3)]
    result = compared("base=" + ",".join(map(str, base)), "new=" + ",".join(map(str, new)))
    (line,) = result.benchmarks
    a = np.mean([coins(n + 9, 80, 0.5) for n in range(3)], axis=0)
    b = np.mean([coins(n, 80, 0.4) for n in range(3)], axis=0)
    assert line.n == 80
    assert line.difference == pytest.approx(float(np.mean(a - b)), rel=1e-12)
    assert line.test == "two-level t, seeds and items"
    seeds = [float(np.mean(coins(n + 9, 80, 0.5))) for n in range(3)]
    assert line.seed_spread.a == pytest.approx(np.std(seeds, ddof=1), rel=1e-12)
    assert result.seed_scores["new"] == pytest.approx(seeds)
    assert result.seeds == {"base": 3, "new": 3}
    assert "seed spread" in result.notes[0]


def test_one_seed_is_said_to_be_one(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, {"sums": coins(1, 9, 0.5)}) for name in "ab"]
    assert "one training seed" in compared(*runs).notes[0]


def test_small_samples_are_underpowered_and_large_ones_rule_out(tmp_path: Path) -> None:
    few = [made_run(tmp_path / f"f{n}", {"sums": coins(n, 60, 0.5)}) for n in range(2)]
    same = coins(1, 20_000, 0.5)
    nearly = [1 - one if number % 100 == 0 else one for number, one in enumerate(same)]
    many = [
        made_run(tmp_path / "m0", {"sums": same}),
        made_run(tmp_path / "m1", {"sums": nearly}),
    ]
    assert compared(*few).benchmarks[0].verdict == "underpowered"
    verdict = compared(*many).benchmarks[0].verdict
    assert verdict == "equivalent (effects above 3.0 points ruled out)"
    explained = ["underpowered:" in "\n".join(remarks(compared(*runs))) for runs in (few, many)]
    assert explained == [True, False]


def test_runs_that_never_differ_are_not_said_to_be_equal_to_the_last_digit(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, {"sums": [1.0] * 50}) for name in "ab"]
    result = compared(*runs)
    assert result.suite.verdict == "underpowered"
    assert result.benchmarks[0].ruled_out_above == pytest.approx(0.06)


def test_two_runs_at_chance_say_nothing_and_are_said_to(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / name, {"sums": coins(n, 200, 0.25)}, chance=0.25)
        for n, name in enumerate("ab")
    ]
    result = compared(*runs)
    assert "says nothing" in result.benchmarks[0].note
    assert result.benchmarks[0].verdict == result.suite.verdict == "at chance"
    assert result.suite.note == "both runs are at or below chance on 1 of 1 benchmarks"
    above = made_run(tmp_path / "c", {"sums": coins(5, 200, 0.6)}, chance=0.25)
    assert compared(runs[0], above).benchmarks[0].note == ""


def test_guesses_that_differ_significantly_are_no_regression(
    tmp_path: Path, command: Command
) -> None:
    guesses = [[float(number % 200 < right) for number in range(2000)] for right in (53, 47)]
    good = made_run(tmp_path / "good", {"sums": guesses[0]}, chance=0.25)
    bad = made_run(tmp_path / "bad", {"sums": guesses[1]}, chance=0.25)
    result = compared(good, bad)
    assert result.suite.p_value < 0.01
    assert result.suite.verdict == "at chance"
    assert command("compare", good, bad, "--fail-on", "regression").returncode == 0


def test_tokens_score_per_million_and_reallocation_come_from_the_ledgers(tmp_path: Path) -> None:
    scores = {"sums": [1.0, 0.0, 1.0, 1.0]}
    base = made_run(tmp_path / "base", scores, ledger=made_ledger(qa=500_000, code=500_000))
    before = {"tokens_spent_before": 2_000_000}
    spent = made_ledger(qa=100_000, code=400_000) | before
    new = made_run(tmp_path / "new", scores, ledger=spent)
    none = made_run(tmp_path / "none", scores)
    result = compared(base, new, none)
    new_spent = result.tokens["new"]
    assert isinstance(new_spent, Spent)
    assert new_spent.tokens_spent_before == 2_000_000
    assert rows.tokens(result)[1][2] == "50,000 (and 2,000,000 in runs before)"
    assert new_spent.used == 500_000
    assert new_spent.meta_tokens == 50_000
    assert new_spent.score_per_million == pytest.approx(1.5)
    assert result.tokens["none"] is None
    by_task = {one.task: one for one in result.reallocation}
    assert by_task["code"].shares == {"base": 0.5, "new": pytest.approx(0.8)}
    assert by_task["code"].change == {"new": pytest.approx(0.3)}


def test_the_json_has_the_names_that_the_contract_has(tmp_path: Path, command: Command) -> None:
    runs = [made_run(tmp_path / name, {"sums": coins(1, 9, 0.5)}) for name in "ab"]
    done = command("compare", *runs, "--json")
    result = json.loads(done.stdout)
    assert {"baseline", "runs", "suite", "families", "benchmarks", "tokens", "overlap"} <= set(
        result
    )
    shared = {"difference", "standard_error", "ci_low", "ci_high", "p_value", "verdict"}
    assert shared <= set(result["suite"])
    more = {"task", "metric", "n", "a", "b", "p_holm", "minimum_detectable_effect"}
    assert shared | more <= set(result["benchmarks"][0])


def test_a_single_item_gives_null_not_a_crash(tmp_path: Path, command: Command) -> None:
    runs = [made_run(tmp_path / name, {"sums": [1.0]}) for name in "ab"]
    done = command("compare", *runs, "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)["benchmarks"][0]
    assert line["p_value"] is None
    assert line["verdict"] == "underpowered"


def test_the_gate_fails_only_when_something_got_worse(tmp_path: Path, command: Command) -> None:
    good = made_run(tmp_path / "good", {"sums": coins(1, 300, 0.8)})
    bad = made_run(tmp_path / "bad", {"sums": coins(2, 300, 0.3)})
    assert command("compare", bad, good, "--fail-on", "regression").returncode == 0
    failed = command("compare", good, bad, "--fail-on", "regression", "--markdown")
    assert failed.returncode == 3
    assert "worse: bad suite, bad sums" in failed.stderr
    (line,) = [one for one in failed.stdout.splitlines() if one.startswith("| sums |")]
    assert line.endswith("| worse |")


def test_a_clear_difference_of_few_items_is_not_called_chance(tmp_path: Path) -> None:
    """20 items: the interval of 9 right reaches far down, the score is far above a quarter."""
    result = compared(
        made_run(tmp_path / "base", {"sums": [1.0] * 9 + [0.0] * 11}, chance=0.25),
        made_run(tmp_path / "new", {"sums": [0.0] * 20}, chance=0.25),
    )
    assert result.benchmarks[0].verdict == "worse"


def test_a_mean_that_differs_only_by_guesses_says_so_and_does_not_fail_the_gate(
    tmp_path: Path, command: Command
) -> None:
    guesses = [float(number % 100 < 26) for number in range(2000)]
    other = [float(number % 100 < 24) for number in range(2000)]
    same = coins(5, 400, 0.7)
    runs = [
        made_run(tmp_path / "base", {"sums": guesses, "logic": same}, chance=0.25),
        made_run(tmp_path / "new", {"sums": other, "logic": same}, chance=0.25),
    ]
    result = compared(*runs)
    assert result.benchmarks[0].verdict == "at chance"
    assert result.suite.verdict == "rests on guesses"
    assert result.suite.p_value < 0.05
    assert command("compare", *runs, "--fail-on", "regression").returncode == 0
    # With a benchmark that speaks, the mean speaks.
    speaks = [
        made_run(tmp_path / "b" / "base", {"sums": guesses, "logic": [1.0] * 400}, chance=0.25),
        made_run(tmp_path / "b" / "new", {"sums": other, "logic": same}, chance=0.25),
    ]
    assert compared(*speaks).suite.verdict == "worse"


def test_a_benchmark_of_one_cluster_is_left_out_of_the_mean(tmp_path: Path) -> None:
    one = {"clusters": {"passages": ["p"] * 20}}
    better, worse = coins(1, 300, 0.6), coins(2, 300, 0.2)
    result = compared(
        made_run(tmp_path / "base", {"sums": worse, "passages": [0.0] * 20}, **one),
        made_run(tmp_path / "new", {"sums": better, "passages": coins(3, 20, 0.5)}, **one),
    )
    assert result.suite.verdict == "better"
    assert "left out of the mean: passages" in result.suite.note
    (line,) = (line for line in result.benchmarks if line.task == "passages")
    assert math.isnan(line.p_holm)
    assert line.verdict == "underpowered"
