"""The whole comparison, as the mapping that `adapt-eval compare --json` prints.

Differences are run minus baseline: positive is better than the baseline. `a` is the run, `b` the
baseline. The one primary test is that of the suite; benchmarks are corrected after Holm over
benchmarks x runs, families over families x runs, suites over runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from adapt_eval.comparison.arms import Arm, Run
from adapt_eval.comparison.benchmark import Comparison, compare_pairs, guess
from adapt_eval.comparison.overlap import overlap_table
from adapt_eval.comparison.pairing import Items, average, check_settings, pair, read_items
from adapt_eval.comparison.tokens import reallocation, spent
from adapt_eval.comparison.verdict import verdict
from adapt_eval.errors import NotComparable
from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.paired import Estimate, pool

# What may differ between comparable runs, but should be known: each moves a few answers.
_CIRCUMSTANCES = ("backend", "batch_size", "data", "device", "dtype", "limit", "versions")
_ONE_SEED = (
    "one training seed for each run: intervals and tests cover the choice of items, not that of "
    "the seed; another seed may differ by more"
)
_SEEDS = (
    "item scores are averaged over the seeds of an arm; intervals and tests cover the choice of "
    "items, the seed spread is shown beside them"
)


def compare(
    arms: Sequence[Arm],
    baseline: str | None = None,
    smallest_effect: float = 0.03,
    allow_differences: bool = False,
) -> dict[str, Any]:
    """
    Args:
        arms: two or more.
        baseline: name of the arm that the others are compared with; the first when None.
        smallest_effect: smallest difference that would matter, 0 to 1.
        allow_differences: compare in spite of different settings or prompts, and say so.

    Raises:
        ValueError: there is no such baseline; results are damaged.
        NotComparable: the runs were not measured the same way.
    """
    if not 0 < smallest_effect < 1:
        raise ValueError(f"--smallest-effect {smallest_effect}: a score difference from 0 to 1")
    base = _baseline(arms, baseline)
    others = [arm for arm in arms if arm is not base]
    tasks, notes = _tasks(arms)
    notes += _check(arms, tasks, allow_differences)
    scores: dict[str, dict[str, tuple[Items, list[float]]]] = {
        arm.name: {
            task: average(
                [read_items(run.results[task]) for run in arm.runs], f"{arm.name}, {task}"
            )
            for task in tasks
        }
        for arm in arms
    }
    benchmarks = [
        _benchmark(arm, base, task, scores, allow_differences, smallest_effect)
        for arm in others
        for task in tasks
    ]
    parts = {(one["run"], one["task"]): one for one in benchmarks}
    families, suites = [], []
    for arm in others:
        own = [parts[arm.name, task] for task in tasks]
        suites.append({"run": arm.name, **_pooled(own)})
        for family in dict.fromkeys(one["family"] for one in own):
            inside = [one for one in own if one["family"] == family]
            families.append({"run": arm.name, "family": family, **_pooled(inside)})
    for level in (benchmarks, families, suites):
        _judge(level, smallest_effect)
    means = {
        arm.name: statistics.fmean(statistics.fmean(scores[arm.name][t][1]) for t in tasks)
        for arm in arms
    }
    several = any(len(arm.runs) > 1 for arm in arms)
    unmatched = sum(sum(one["unmatched"]) for one in benchmarks)
    if unmatched:
        notes.append(f"{unmatched} items are in one run only and were left out")
    first = arms[0].runs[0]
    return {
        "baseline": base.name,
        "runs": [arm.name for arm in arms],
        "suite": suites[0],
        "suites": suites,
        "families": families,
        "benchmarks": benchmarks,
        "tokens": spent(arms, means),
        "reallocation": reallocation(arms, base),
        "overlap": overlap_table(arms, tasks),
        "measured_on": {
            "name": first.manifest["suite"]["name"],
            "note": first.manifest["suite"]["note"],
        },
        "seeds": {arm.name: len(arm.runs) for arm in arms},
        "seed_scores": {
            arm.name: [
                statistics.fmean(scores[arm.name][task][1][seed] for task in tasks)
                for seed in range(len(arm.runs))
            ]
            for arm in arms
        },
        "smallest_effect": smallest_effect,
        "notes": [_SEEDS if several else _ONE_SEED, *notes],
    }


def _baseline(arms: Sequence[Arm], name: str | None) -> Arm:
    for arm in arms:
        if name in (None, arm.name):
            return arm
    names = ", ".join(arm.name for arm in arms)
    raise ValueError(f"--baseline {name}: no such run; there are {names}")


def _tasks(arms: Sequence[Arm]) -> tuple[list[str], list[str]]:
    """Benchmarks that all runs have, in the suite's order, and a note on the others."""
    runs = [run for arm in arms for run in arm.runs]
    order = list(runs[0].manifest["suite"]["benchmarks"])
    common = [task for task in order if all(task in run.results for run in runs)]
    if not common:
        raise NotComparable("no benchmark was measured in all of the runs")
    notes = []
    for task in order:
        without = [str(run.place) for run in runs if task not in run.results]
        if len(without) == len(runs):
            notes.append(f"{task} was measured in none of the runs: the suite is not whole")
        elif without:
            notes.append(f"{task} is left out: not measured in {', '.join(without)}")
    return common, notes


def _check(arms: Sequence[Arm], tasks: Sequence[str], allow: bool) -> list[str]:
    runs = [run for arm in arms for run in arm.runs]
    differ = [
        difference
        for task in tasks
        for run in runs[1:]
        for difference in check_settings(
            runs[0].results[task], run.results[task], f"{task}, {run.place}"
        )
    ]
    if differ and not allow:
        raise NotComparable(
            "the runs were not measured the same way: "
            + "; ".join(differ[:5])
            + (f"; and {len(differ) - 5} more" if len(differ) > 5 else "")
            + ". Measure them again alike, or compare them all the same with --allow-differences"
        )
    notes = [f"compared in spite of a difference: {one}" for one in differ]
    limits = {task: _fingerprint(runs[0], task).get("limit") for task in tasks}
    if any(limits.values()):
        said = ", ".join(f"{task} {limit}" for task, limit in limits.items() if limit)
        notes.append(f"not whole benchmarks but the first items of each task: {said}")
    for run in runs[1:]:
        found = {
            key
            for task in tasks
            for key in _CIRCUMSTANCES
            if _fingerprint(run, task).get(key) != _fingerprint(runs[0], task).get(key)
        }
        if found:
            names = ", ".join(sorted(found))
            notes.append(f"{run.place} was measured with another {names} than {runs[0].place}")
    return notes


def _fingerprint(run: Run, task: str) -> Mapping[str, Any]:
    fingerprint: Mapping[str, Any] = run.results[task].content["fingerprint"]
    return fingerprint


def _benchmark(
    arm: Arm,
    base: Arm,
    task: str,
    scores: dict[str, dict[str, tuple[Items, list[float]]]],
    allow: bool,
    smallest_effect: float,
) -> dict[str, Any]:
    content = arm.runs[0].results[task].content
    (ours, our_seeds), (theirs, their_seeds) = scores[arm.name][task], scores[base.name][task]
    pairs = pair(ours, theirs, f"{task}, {arm.name} and {base.name}", strict=not allow)
    compared = compare_pairs(pairs, guess(content), smallest_effect)
    return {
        "run": arm.name,
        "task": task,
        "family": content["family"],
        "metric": content["metric"],
        **_numbers(compared),
        "chance": content["chance"],
        "floor": content["floor"],
        "clustered_by": content["clustered_by"],
        "seed_spread": {"a": _spread(our_seeds), "b": _spread(their_seeds)},
        **compared.more,
    }


def _pooled(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean of benchmarks, for a family or the suite.

    What could be found and what is ruled out are the parts' own in quadrature: 2.80 SE where items
    differ, while a benchmark on which none does adds what its items cannot exclude, not nothing.
    """
    unknown = [one["task"] for one in parts if one["df"] < 1]
    if len(unknown) < len(parts):  # one item, or one cluster, tells of no error
        parts = [one for one in parts if one["df"] >= 1]
    pooled = _pool(parts)
    halves = [one["ruled_out_above"] - abs(one["difference"]) for one in parts]
    compared = Comparison(
        statistics.fmean(one["a"] for one in parts),
        statistics.fmean(one["b"] for one in parts),
        pooled,
        pooled.interval(),
        pooled.p_value,
        "t of the unweighted mean of benchmarks",
        math.hypot(*(one["minimum_detectable_effect"] for one in parts)) / len(parts),
        abs(pooled.mean) + math.hypot(*halves) / len(parts),
        {},
    )
    numbers = _numbers(compared)
    if len(parts) == 1:
        numbers = {key: parts[0][key] for key in numbers}
    silent = sum(one["says_nothing"] for one in parts)
    note = ""
    if silent:
        note = f"both runs are at or below chance on {silent} of {len(parts)} benchmarks"
    if unknown:
        said = f"too small to have an error, left out of the mean: {', '.join(unknown)}"
        note = f"{note}; {said}" if note else said
    return {
        **numbers,
        "note": note,
        "says_nothing": silent == len(parts),
        "on_guesses": 0 < silent < len(parts) and not _differ_without_guesses(parts, pooled),
    }


def _pool(parts: Sequence[dict[str, Any]]) -> Estimate:
    return pool(
        [Estimate(one["difference"], one["standard_error"], one["df"], one["n"]) for one in parts]
    )


def _differ_without_guesses(parts: Sequence[dict[str, Any]], pooled: Estimate) -> bool:
    """Whether the benchmarks that say something differ the same way, at 5 %."""
    rest = _pool([one for one in parts if not one["says_nothing"]])
    return rest.p_value < 0.05 and rest.mean * pooled.mean > 0


def _numbers(one: Comparison) -> dict[str, Any]:
    return {
        "n": one.difference.n,
        "a": one.a,
        "b": one.b,
        "difference": one.difference.mean,
        "standard_error": one.difference.standard_error,
        "df": one.difference.df,
        "ci_low": one.interval[0],
        "ci_high": one.interval[1],
        "test": one.test,
        "p_value": one.p_value,
        "minimum_detectable_effect": one.detectable,
        "ruled_out_above": one.ruled_out,
    }


def _judge(lines: list[dict[str, Any]], smallest_effect: float) -> None:
    adjusted = holm([1.0 if math.isnan(one["p_value"]) else one["p_value"] for one in lines])
    for one, p_value in zip(lines, adjusted, strict=True):
        one["p_holm"] = math.nan if math.isnan(one["p_value"]) else p_value
        one["verdict"] = verdict(
            one["difference"],
            p_value,
            one["minimum_detectable_effect"],
            one["ruled_out_above"],
            smallest_effect,
            one["says_nothing"],
            one.get("on_guesses", False),
        )


def _spread(seeds: Sequence[float]) -> float | None:
    return statistics.stdev(seeds) if len(seeds) > 1 else None
