"""Numbers and sentences that all outputs write alike."""

from __future__ import annotations

import math

from adapt_eval.comparison.schema import Comparison, Figures, SuiteComparison
from adapt_eval.comparison.verdict import LEAST_ITEMS


def points(value: float, sign: bool = False) -> str:
    """A score or difference in percentage points."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def interval(one: Figures) -> str:
    """The 95 % interval of a difference, in points."""
    return f"[{points(one.ci_low, True)}, {points(one.ci_high, True)}]"


def p_value(value: float) -> str:
    """Three digits; never 0."""
    if math.isnan(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _p(result: Comparison, suite: SuiteComparison) -> str:
    name = "p" if len(result.suites) == 1 else "p (Holm)"
    text = p_value(suite.p_holm)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def headline(result: Comparison, suite: SuiteComparison) -> str:
    """The primary test as a sentence."""
    name = result.measured_on.name
    return (
        f"{suite.run} against {result.baseline} on {name}: {suite.verdict}. "
        f"Mean difference {points(suite.difference, True)} points, 95 % interval "
        f"{interval(suite)}, {_p(result, suite)}; detectable was "
        f"{points(suite.detectable_after_holm)}. {suite.claim[0].upper()}{suite.claim[1:]}."
        + (f" {suite.note[0].upper()}{suite.note[1:]}." if suite.note else "")
    )


def weighted(suite: SuiteComparison) -> str:
    """The companion of the primary test."""
    one = suite.weighted
    assert one is not None
    low, high = points(one.ci_low, True), points(one.ci_high, True)
    return f"{points(one.difference, True)} points [{low}, {high}], p {p_value(one.p_value)}"


def tokens(value: float) -> str:
    """Counts of tokens."""
    return f"{value:,.0f}"


def remarks(result: Comparison) -> list[str]:
    """What the reader has to know to read the figures."""
    lines = [f"suite {result.measured_on.name}: {result.measured_on.note}"]
    lines += [f"{one.run}: {one.note}" for one in result.suites if one.note]
    lines += list(result.notes)
    spreads = {k: v for k, v in result.seed_scores.items() if len(v) > 1}
    lines += [
        f"{name}: suite score by seed {', '.join(points(one) for one in scores)}"
        for name, scores in spreads.items()
    ]
    if result.ranking:
        ranks = "; ".join(
            f"{one.run} {one.best}" + (f" to {one.worst}" if one.worst > one.best else "")
            for one in result.ranking
        )
        lines.append(f"ranks on the suite, 95 % sure of all of them together: {ranks}")
    if any(one.says_nothing for one in result.benchmarks):
        lines.append(
            "at chance: both runs score no better than guessing. Models that guess differ too, by "
            "which answer they happen to prefer; whatever p is, that makes neither better"
        )
    if any(one.on_guesses for one in [*result.families, *result.suites]):
        lines.append(
            "rests on guesses: the mean differs only by benchmarks on which both runs guess"
        )
    lines += [
        f"{one.run}: weighted by precision, the mean difference is {weighted(one)}: benchmarks of "
        "few items hardly count in it"
        for one in result.suites
        if one.weighted is not None and one.weighted.df != one.df
    ]
    lines.append(
        "detectable: the smallest difference found in 4 of 5 cases, with the correction of p (Holm)"
    )
    levels: list[Figures] = [*result.benchmarks, *result.families, *result.suites]
    said = {one.verdict.partition(" (")[0] for one in levels}
    margin = points(result.smallest_effect)
    if "equivalent" in said:
        lines.append(
            f"equivalent: that the difference is {margin} points or more is rejected in both "
            "directions (two one-sided tests, corrected after Holm)"
        )
    if "undecided" in said:
        lines.append(
            f"undecided: a difference of {margin} points would mostly have been found, and none "
            "was; but one of that size is not ruled out either"
        )
    if "underpowered" in said:
        lines.append(
            f"underpowered: the smallest detectable difference is more than {margin} points, or "
            f"there are fewer than {LEAST_ITEMS} independent items, so finding none proves nothing"
        )
    lines.append(
        "p (Holm) is corrected over benchmarks x runs; intervals are not corrected; the suite's "
        "is the one primary test"
    )
    return lines


def overlap_lines(result: Comparison) -> list[tuple[str, str, str, str]]:
    """Training task, benchmark, by name, by text; only those that share something."""
    lines = []
    for one in result.overlap:
        if one.by_name or one.by_text:
            text = "not compared" if one.by_text is None else f"{one.by_text} of {one.items}"
            name = "same source" if one.by_name else ""
            lines.append((one.training_task, one.benchmark, name, text))
    return lines


def overlap_remark(result: Comparison) -> str:
    """What was looked at, and what the table leaves out."""
    pairs = result.overlap
    if not pairs:
        return "no training tasks are known (no ledger), so overlap cannot be told"
    compared = sum(one.by_text is not None for one in pairs)
    tasks = len({one.training_task for one in pairs})
    benchmarks = len({one.benchmark for one in pairs})
    said = f"{tasks} training tasks x {benchmarks} benchmarks were compared by name"
    if compared == len(pairs):
        return f"{said}, {compared} pairs by text too; pairs not shown share nothing"
    if compared:
        return (
            f"{said}, {compared} of {len(pairs)} pairs by text too: pairs not shown share no name, "
            "and no text where texts were compared"
        )
    return f"{said}, none by text: adapt-eval overlap RUN compares texts"
