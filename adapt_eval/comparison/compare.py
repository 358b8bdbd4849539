"""The whole comparison: items paired, benchmarks tested, their mean as the primary test.

Differences are run minus baseline: positive is better than the baseline. The one primary test is
that of the suite; p-values of benchmarks are corrected after Holm over benchmarks x runs, those of
families over families x runs, those of suites over runs.

Where both arms have several seeds, the seed is the unit: errors are those over seeds and items, and
what is claimed is a claim about ways of training. Else it is one about these models.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt_eval.comparison.against import Against, Scores, against
from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.checks import changed_weights, check_alike, common_tasks
from adapt_eval.comparison.claims import claim, seeds_note
from adapt_eval.comparison.judging import judged
from adapt_eval.comparison.overlap import not_compared, overlap_table
from adapt_eval.comparison.pairing import average
from adapt_eval.comparison.ranking import ranking
from adapt_eval.comparison.schema import Comparison, MeasuredOn, SuiteComparison
from adapt_eval.comparison.tokens import reallocation, spent


@dataclass(frozen=True)
class Pairing:
    """Arms with their items read, and each arm against the baseline.

    Attributes:
        tasks: benchmarks that all arms have.
        found: arm -> its comparison with the baseline, not corrected.
        notes: what the reader has to know of how they were measured.
    """

    arms: Sequence[Arm]
    base: Arm
    tasks: Sequence[str]
    scores: Scores
    found: Mapping[str, Against]
    notes: Sequence[str]


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
    paired = paired_arms(arms, baseline, smallest_effect, allow_differences)
    base, tasks, scores, notes = paired.base, paired.tasks, paired.scores, list(paired.notes)
    others = [arm for arm in arms if arm is not base]
    benchmarks = [one for arm in paired.found.values() for one in arm.benchmarks]
    families = [one for arm in paired.found.values() for one in arm.families]
    if unmatched := sum(sum(one.unmatched) for one in benchmarks):
        notes.append(f"{unmatched} items are in one run only and were left out")
    suites = judged([arm.suite for arm in paired.found.values()], smallest_effect)
    suites = [
        one.model_copy(update={"claim": claim(one, arm, base)})
        for one, arm in zip(suites, others, strict=True)
    ]
    seed_scores = {
        arm.name: [
            statistics.fmean(scores[arm.name][task][1][seed] for task in tasks)
            for seed in range(len(arm.runs))
        ]
        for arm in arms
    }
    means = {name: statistics.fmean(seeds) for name, seeds in seed_scores.items()}
    suite = arms[0].runs[0].manifest.suite
    return Comparison(
        baseline=base.name,
        runs=[arm.name for arm in arms],
        suite=suites[0],
        suites=suites,
        families=judged(families, smallest_effect),
        benchmarks=judged(benchmarks, smallest_effect),
        tokens=spent(arms, means),
        reallocation=reallocation(arms, base),
        overlap=overlap_table(arms, tasks),
        measured_on=MeasuredOn(name=suite.name, note=suite.note),
        seeds={arm.name: len(arm.runs) for arm in arms},
        seed_scores=seed_scores,
        ranking=ranking(means, _pairs(paired, allow_differences, smallest_effect)),
        smallest_effect=smallest_effect,
        notes=[seeds_note(arms), *notes],
    )


def paired_arms(
    arms: Sequence[Arm], baseline: str | None, smallest_effect: float, allow_differences: bool
) -> Pairing:
    """What `compare` and `compare --plan` both begin with; arguments and errors are `compare`'s."""
    if not 0 < smallest_effect < 1:
        raise ValueError(f"--smallest-effect {smallest_effect}: a score difference from 0 to 1")
    base = _baseline(arms, baseline)
    tasks, notes = common_tasks(arms)
    notes += check_alike(arms, tasks, allow_differences)
    notes += changed_weights(arms)
    notes += not_compared(arms)
    scores = _read(arms, tasks)
    found = {
        arm.name: against(arm, base, tasks, scores, allow_differences, smallest_effect)
        for arm in arms
        if arm is not base
    }
    return Pairing(arms, base, tasks, scores, found, notes)


def _baseline(arms: Sequence[Arm], name: str | None) -> Arm:
    for arm in arms:
        if name in (None, arm.name):
            return arm
    names = ", ".join(arm.name for arm in arms)
    raise ValueError(f"--baseline {name}: no such run; there are {names}")


def _read(arms: Sequence[Arm], tasks: Sequence[str]) -> Scores:
    return {
        arm.name: {
            task: average([run.results[task].items() for run in arm.runs], f"{arm.name}, {task}")
            for task in tasks
        }
        for arm in arms
    }


def _pairs(
    paired: Pairing, allow: bool, smallest_effect: float
) -> dict[tuple[str, str], SuiteComparison]:
    """Every arm against every other, for the ranks; two arms have nothing to rank."""
    if len(paired.arms) < 3:
        return {}
    pairs = {(name, paired.base.name): one.suite for name, one in paired.found.items()}
    others = [arm for arm in paired.arms if arm is not paired.base]
    for one, other in itertools.combinations(others, 2):
        found = against(one, other, paired.tasks, paired.scores, allow, smallest_effect)
        pairs[one.name, other.name] = found.suite
    return pairs
