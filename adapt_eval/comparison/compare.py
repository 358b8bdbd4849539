"""The whole comparison: items paired, benchmarks tested, their mean as the primary test.

Differences are run minus baseline: positive is better than the baseline. The one primary test is
that of the suite; p-values of benchmarks are corrected after Holm over benchmarks x runs, those of
families over families x runs, those of suites over runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TypeVar

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.benchmark import compare_pairs, guess
from adapt_eval.comparison.checks import changed_weights, check_alike, common_tasks
from adapt_eval.comparison.overlap import not_compared, overlap_table
from adapt_eval.comparison.pairing import Items, average, pair, read_items
from adapt_eval.comparison.pooling import pooled
from adapt_eval.comparison.schema import (
    BenchmarkComparison,
    Comparison,
    FamilyComparison,
    Figures,
    MeasuredOn,
    SeedSpread,
)
from adapt_eval.comparison.tokens import reallocation, spent
from adapt_eval.comparison.verdict import LEAST_ITEMS, verdict
from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.power import detectable, planning_error

_ONE_SEED = (
    "one training seed for each run: intervals and tests cover the choice of items, not that of "
    "the seed; another seed may differ by more"
)
_SEEDS = (
    "item scores are averaged over the seeds of an arm; intervals and tests cover the choice of "
    "items, the seed spread is shown beside them"
)
_BELOW_CHANCE = "both at or below chance: says nothing about which is better"
_TOO_FEW = f"fewer than {LEAST_ITEMS} independent items: no verdict"

# Arm -> benchmark -> items averaged over seeds, and the score of each seed.
Scores = Mapping[str, Mapping[str, tuple[Items, list[float]]]]
Level = TypeVar("Level", bound=Figures)


def compare(
    arms: Sequence[Arm],
    baseline: str | None = None,
    smallest_effect: float = 0.03,
    allow_differences: bool = False,
) -> Comparison:
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
    tasks, notes = common_tasks(arms)
    notes += check_alike(arms, tasks, allow_differences)
    notes += changed_weights(arms)
    notes += not_compared(arms)
    scores = _read(arms, tasks)
    benchmarks = [
        _benchmark(arm, base, task, scores, allow_differences, smallest_effect)
        for arm in others
        for task in tasks
    ]
    families, suites = [], []
    for arm in others:
        own = [one for one in benchmarks if one.run == arm.name]
        suites.append(pooled(own, smallest_effect))
        for family in dict.fromkeys(one.family for one in own):
            mean = pooled([one for one in own if one.family == family], smallest_effect)
            families.append(FamilyComparison(family=family, **dict(mean)))
    if unmatched := sum(sum(one.unmatched) for one in benchmarks):
        notes.append(f"{unmatched} items are in one run only and were left out")
    suites = _judged(suites, smallest_effect)
    seed_scores = {
        arm.name: [
            statistics.fmean(scores[arm.name][task][1][seed] for task in tasks)
            for seed in range(len(arm.runs))
        ]
        for arm in arms
    }
    means = {
        arm.name: statistics.fmean(statistics.fmean(scores[arm.name][t][1]) for t in tasks)
        for arm in arms
    }
    several = any(len(arm.runs) > 1 for arm in arms)
    suite = arms[0].runs[0].manifest.suite
    return Comparison(
        baseline=base.name,
        runs=[arm.name for arm in arms],
        suite=suites[0],
        suites=suites,
        families=_judged(families, smallest_effect),
        benchmarks=_judged(benchmarks, smallest_effect),
        tokens=spent(arms, means),
        reallocation=reallocation(arms, base),
        overlap=overlap_table(arms, tasks),
        measured_on=MeasuredOn(name=suite.name, note=suite.note),
        seeds={arm.name: len(arm.runs) for arm in arms},
        seed_scores=seed_scores,
        smallest_effect=smallest_effect,
        notes=[_SEEDS if several else _ONE_SEED, *notes],
    )


def _baseline(arms: Sequence[Arm], name: str | None) -> Arm:
    for arm in arms:
        if name in (None, arm.name):
            return arm
    names = ", ".join(arm.name for arm in arms)
    raise ValueError(f"--baseline {name}: no such run; there are {names}")


def _read(arms: Sequence[Arm], tasks: Sequence[str]) -> Scores:
    return {
        arm.name: {
            task: average(
                [read_items(run.results[task]) for run in arm.runs], f"{arm.name}, {task}"
            )
            for task in tasks
        }
        for arm in arms
    }


def _benchmark(
    arm: Arm, base: Arm, task: str, scores: Scores, allow: bool, smallest_effect: float
) -> BenchmarkComparison:
    content = arm.runs[0].results[task].content
    (ours, our_seeds), (theirs, their_seeds) = scores[arm.name][task], scores[base.name][task]
    pairs = pair(ours, theirs, f"{task}, {arm.name} and {base.name}", strict=not allow)
    guessing = guess(content.chance, content.floor)
    one = compare_pairs(pairs, guessing, smallest_effect, content.chance)
    at_chance = one.at_chance.a and one.at_chance.b
    too_few = (one.clusters or one.difference.n) < LEAST_ITEMS
    return BenchmarkComparison(
        run=arm.name,
        n=one.difference.n,
        a=one.a,
        b=one.b,
        difference=one.difference.mean,
        standard_error=one.difference.standard_error,
        df=one.difference.df,
        ci_low=one.interval[0],
        ci_high=one.interval[1],
        test=one.test,
        p_value=one.p_value,
        p_equivalence=one.p_equivalence,
        planning_error=planning_error(one.difference),
        minimum_detectable_effect=one.detectable,
        ruled_out_above=one.ruled_out,
        note=_TOO_FEW if too_few else _BELOW_CHANCE if at_chance else "",
        says_nothing=at_chance,
        too_few=too_few,
        task=task,
        family=content.family,
        metric=content.metric,
        chance=content.chance,
        floor=content.floor,
        clustered_by=content.clustered_by,
        seed_spread=SeedSpread(a=_spread(our_seeds), b=_spread(their_seeds)),
        wins=one.wins,
        ties=one.ties,
        losses=one.losses,
        clusters=one.clusters,
        unmatched=pairs.unmatched,
        p_exact=one.p_exact,
        at_chance=one.at_chance,
    )


def _judged(level: Sequence[Level], smallest_effect: float) -> list[Level]:
    """The same with p-values corrected over all of the level, and with verdicts."""
    return [
        one.model_copy(
            update={
                "p_holm": p_value,
                "p_equivalence_holm": p_equivalence,
                "detectable_after_holm": found,
                "verdict": verdict(
                    one.difference,
                    p_value,
                    p_equivalence,
                    found,
                    smallest_effect,
                    too_few=one.too_few,
                    at_chance=one.says_nothing,
                    on_guesses=getattr(one, "on_guesses", False),
                ),
            }
        )
        for one, p_value, p_equivalence, found in zip(
            level,
            _corrected([one.p_value for one in level]),
            _corrected([one.p_equivalence for one in level]),
            [detectable(one.planning_error, one.df, len(level)) for one in level],
            strict=True,
        )
    ]


def _corrected(p_values: Sequence[float]) -> list[float]:
    """After Holm; what does not exist counts as one of them, and stays NaN."""
    adjusted = holm([1.0 if math.isnan(one) else one for one in p_values])
    return [
        math.nan if math.isnan(raw) else one for raw, one in zip(p_values, adjusted, strict=True)
    ]


def _spread(seeds: Sequence[float]) -> float | None:
    return statistics.stdev(seeds) if len(seeds) > 1 else None
