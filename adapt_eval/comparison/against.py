"""One arm against another: benchmarks tested, their means over families and the suite."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.benchmark import compare_pairs, guess
from adapt_eval.comparison.items import Items
from adapt_eval.comparison.pairing import pair
from adapt_eval.comparison.pooling import pooled
from adapt_eval.comparison.schema import (
    BenchmarkComparison,
    FamilyComparison,
    SeedSpread,
    SuiteComparison,
)
from adapt_eval.comparison.seeds import shared_seeds
from adapt_eval.comparison.verdict import LEAST_ITEMS
from adapt_eval.statistics.two_level import TwoLevel

_BELOW_CHANCE = "both at or below chance: says nothing about which is better"
_TOO_FEW = f"fewer than {LEAST_ITEMS} independent items: no verdict"

# Arm -> benchmark -> items averaged over seeds, and the score of each seed.
Scores = Mapping[str, Mapping[str, tuple[Items, list[float]]]]


@dataclass(frozen=True)
class Against:
    """What was found, not yet corrected for other comparisons.

    Attributes:
        levels: benchmark -> what its error is made of; empty where an arm has one seed.
    """

    benchmarks: list[BenchmarkComparison]
    families: list[FamilyComparison]
    suite: SuiteComparison
    levels: Mapping[str, TwoLevel]


def against(
    arm: Arm, base: Arm, tasks: Sequence[str], scores: Scores, allow: bool, smallest_effect: float
) -> Against:
    """
    Args:
        allow: compare although prompts differ.
        smallest_effect: smallest difference that would matter, 0 to 1.

    Raises:
        NotComparable: no item is in both arms, or their targets or prompts differ.
    """
    seeds = shared_seeds(arm, base)
    both = [_benchmark(arm, base, task, scores, allow, smallest_effect, seeds) for task in tasks]
    benchmarks = [one for one, _ in both]
    levels = {one.task: level for one, level in both if level is not None}
    families = []
    for family in dict.fromkeys(one.family for one in benchmarks):
        own = [one for one in benchmarks if one.family == family]
        mean = pooled(own, smallest_effect, levels)
        families.append(FamilyComparison(family=family, **dict(mean)))
    suite = pooled(benchmarks, smallest_effect, levels)
    if levels:
        suite = suite.model_copy(update={"seeds_paired": seeds is not None})
    return Against(benchmarks, families, suite, levels)


def _benchmark(
    arm: Arm,
    base: Arm,
    task: str,
    scores: Scores,
    allow: bool,
    smallest_effect: float,
    seeds: Sequence[int] | None,
) -> tuple[BenchmarkComparison, TwoLevel | None]:
    content = arm.runs[0].results[task].content
    (ours, our_seeds), (theirs, their_seeds) = scores[arm.name][task], scores[base.name][task]
    pairs = pair(ours, theirs, f"{task}, {arm.name} and {base.name}", strict=not allow, seeds=seeds)
    guessing = guess(content.chance, content.floor)
    one = compare_pairs(pairs, guessing, smallest_effect, content.chance)
    at_chance = one.at_chance.a and one.at_chance.b
    too_few = (one.clusters or one.difference.n) < LEAST_ITEMS
    figures = BenchmarkComparison(
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
        planning_error=one.error,
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
    return figures, one.levels


def _spread(seeds: Sequence[float]) -> float | None:
    return statistics.stdev(seeds) if len(seeds) > 1 else None
