"""The study's statistics: all of them `adapt-eval compare`'s, over the seeds that arms share.

For each regime and budget, of both scores:

- `uniform`: every arm against uniform mixing, p-values corrected over all arms; ranks;
- `best`: every arm against the one that came out best in this regime, which is its regret;
- `controls`: the controls of `learned`, and uniform mixing with more tokens, against it;
- `main`: uniform, learned and the best static arm on all the seeds that they have, where these are
  more than the others'.

Arms are paired by seed, so each of a comparison has the same ones: those of uniform and learned.
An arm that lacks one is left out until it has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study_arms import ARMS, REPORTED
from study_grid import (
    BUDGETS,
    MAIN_REGIME,
    MORE_SEEDS,
    TUNING_SEEDS,
    Cell,
    Rates,
    best_static,
    rate_of,
)
from study_metrics import METRICS, SMALLEST, suite_name
from study_regimes import counted

from adapt_eval.comparison.arms import Arm, read_run
from adapt_eval.comparison.compare import compare, paired_arms
from adapt_eval.comparison.schema import Comparison, Figures

Line = dict[str, Any]
# Arms that come from the run of `learned` of the same seed.
CONTROLS = tuple(name for name, arm in ARMS.items() if arm.needs == "learned")


@dataclass(frozen=True)
class Group:
    """What one comparison is over.

    Attributes:
        kind: `all` arms, or `main`.
        regime, budget: of all its runs.
        cells: arm -> its cells, by seed; all of the same seeds.
        unfinished: arm -> how many of these seeds it has, for arms that lack some.
    """

    kind: str
    regime: str
    budget: float
    cells: Mapping[str, list[Cell]]
    unfinished: Mapping[str, int]


def reported(cells: Sequence[Cell], chosen: Rates) -> list[Cell]:
    """Those that stand for their arm: at its learning rate, and not of the tuning seeds."""
    return [
        cell
        for cell in cells
        if cell.arm in REPORTED
        and cell.seed not in TUNING_SEEDS
        and cell.learning_rate == rate_of(cell.arm, cell.budget, chosen)
    ]


def groups(cells: Sequence[Cell], losses: Mapping[Cell, float], chosen: Rates) -> Iterator[Group]:
    """All comparisons that there are runs for.

    Args:
        cells: that are done.
        losses: validation losses, by which the best static arm was chosen.
        chosen: learning rates.
    """
    own = reported(cells, chosen)
    budgets = sorted({cell.budget for cell in own}, key=lambda one: (one not in BUDGETS, one))
    regimes = list(dict.fromkeys(cell.regime for cell in own))
    for regime in regimes:
        for budget in budgets:
            by_arm = _by_arm(own, regime, budget)
            first = {arm: _without(seeds, MORE_SEEDS) for arm, seeds in by_arm.items()}
            yield from _group("all", regime, budget, first)
            if regime == MAIN_REGIME:
                main = ("uniform", "learned", best_static(losses, chosen))
                more = {arm: by_arm[arm] for arm in main if arm in by_arm}
                for group in _group("main", regime, budget, more):
                    if any(cell.seed in MORE_SEEDS for cell in group.cells["uniform"]):
                        yield group


def _by_arm(cells: Sequence[Cell], regime: str, budget: float) -> dict[str, dict[int, Cell]]:
    """Arm -> seed -> cell. To arms that know no targets the regime `targets` is the natural one; a
    control of a natural run, or a mixture found for natural, is none for runs with targets."""
    found: dict[str, dict[int, Cell]] = {}
    for name in ARMS:
        where = regime
        if regime == "targets" and not ARMS[name].counts_targets:
            if ARMS[name].regimes is not None:
                continue
            where = "natural"
        own = [
            cell for cell in cells if (cell.regime, cell.arm, cell.budget) == (where, name, budget)
        ]
        if own:
            found[name] = {cell.seed: cell for cell in own}
    return found


def _without(cells: Mapping[int, Cell], seeds: Sequence[int]) -> dict[int, Cell]:
    return {seed: cell for seed, cell in cells.items() if seed not in seeds}


def _group(
    kind: str, regime: str, budget: float, by_arm: Mapping[str, Mapping[int, Cell]]
) -> Iterator[Group]:
    leading = [set(by_arm[arm]) for arm in ("uniform", "learned") if arm in by_arm]
    seeds = set.intersection(*leading) if leading else set()
    whole = {
        arm: [own[seed] for seed in sorted(seeds)]
        for arm, own in by_arm.items()
        if seeds and seeds <= own.keys()
    }
    if "uniform" in whole and len(whole) > 1:
        missing = {arm: len(seeds & own.keys()) for arm, own in by_arm.items() if arm not in whole}
        yield Group(kind, regime, budget, whole, missing)


def compared(out: Path, group: Group) -> Iterator[Line]:
    """Lines of the table of comparisons.

    Args:
        out: folder of the study.
        group: what to compare.
    """
    for metric in METRICS:
        arms = [_arm(out, name, cells, metric) for name, cells in group.cells.items()]
        arms = [_of_counted(arm, group.regime) for arm in arms]
        result = compare(arms, "uniform", SMALLEST[metric])
        common = {
            "regime": group.regime,
            "budget": group.budget,
            "metric": metric,
            "seeds": len(next(iter(group.cells.values()))),
        }
        kind = "uniform" if group.kind == "all" else "main"
        yield from _lines(result, {**common, "kind": kind})
        if group.kind == "all":
            yield from _regret(arms, metric, result, {**common, "kind": "best"})
            controls = [arm for arm in arms if arm.name == "learned" or arm.name in CONTROLS]
            if len(controls) > 1 and "learned" in group.cells:
                result = compare(controls, "learned", SMALLEST[metric])
                yield from _lines(result, {**common, "kind": "controls"})


def _arm(out: Path, name: str, cells: Sequence[Cell], metric: str) -> Arm:
    return Arm(name, [read_run(out / cell.name, suite_name(metric)) for cell in cells])


def _of_counted(arm: Arm, regime: str) -> Arm:
    """With the results of the tasks alone that are reported in the regime."""
    runs = []
    for run in arm.runs:
        kept = counted(regime, list(run.results))
        suite = run.manifest.suite
        benchmarks = [task for task in suite.benchmarks if task in kept]
        suite = suite.model_copy(update={"benchmarks": benchmarks})
        manifest = run.manifest.model_copy(update={"suite": suite})
        results = {task: run.results[task] for task in kept}
        runs.append(replace(run, manifest=manifest, results=results))
    return replace(arm, runs=runs)


def _lines(result: Comparison, common: Line) -> Iterator[Line]:
    ranks = {one.run: one for one in result.ranking}
    for suite in result.suites:
        rank = ranks.get(suite.run)
        yield {
            **common,
            **_figures(suite, result.baseline, "suite", ""),
            "claim": suite.claim,
            "best_rank": None if rank is None else rank.best,
            "worst_rank": None if rank is None else rank.worst,
        }
    for family in result.families:
        yield {**common, **_figures(family, result.baseline, "family", family.family)}
    for one in result.benchmarks:
        yield {**common, **_figures(one, result.baseline, "task", one.task)}


def _regret(arms: Sequence[Arm], metric: str, result: Comparison, common: Line) -> Iterator[Line]:
    """The others against the best one; nothing is tested, so nothing is corrected."""
    best = max(result.seed_scores, key=lambda arm: sum(result.seed_scores[arm]))
    found = paired_arms(arms, best, SMALLEST[metric], allow_differences=False).found
    for one in found.values():
        yield {**common, **_figures(one.suite, best, "suite", "")}


def _figures(one: Figures, baseline: str, level: str, name: str) -> Line:
    keys = ("a", "b", "difference", "ci_low", "ci_high", "p_value", "p_holm", "verdict")
    return {
        "arm": one.run,
        "baseline": baseline,
        "level": level,
        "name": name,
        **{key: getattr(one, key) for key in keys},
        "detectable": one.detectable_after_holm,
    }
