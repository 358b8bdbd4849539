"""Numbers and sentences that all outputs write alike."""

from __future__ import annotations

import math

from adapt_eval.comparison.schema import Comparison, Figures, SuiteComparison


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
        f"{points(suite.minimum_detectable_effect)}."
        + (f" {suite.note[0].upper()}{suite.note[1:]}." if suite.note else "")
    )


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
    if any(one.says_nothing for one in result.benchmarks):
        lines.append(
            "at chance: both runs score no better than guessing. Models that guess differ too, by "
            "which answer they happen to prefer; whatever p is, that makes neither better"
        )
    if any(one.on_guesses for one in [*result.families, *result.suites]):
        lines.append(
            "rests on guesses: the mean differs only by benchmarks on which both runs guess"
        )
    lines.append("detectable: the smallest difference found in 4 of 5 cases, before correction")
    levels: list[Figures] = [*result.benchmarks, *result.families, *result.suites]
    if any(one.verdict == "underpowered" for one in levels):
        lines.append(
            "underpowered: the smallest detectable difference is more than "
            f"{points(result.smallest_effect)} points, so finding none proves nothing"
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
