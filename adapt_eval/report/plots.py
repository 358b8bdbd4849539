"""Plots as HTML and SVG fragments that fit any width: shapes stretch, text does not.

Text is always HTML beside or below a shape, so that it stays readable on a phone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from adapt_common.colours import colour
from adapt_eval.comparison.schema import BenchmarkComparison, Figures
from adapt_eval.report import words
from adapt_eval.report.spent import Panel
from adapt_eval.schema import MixtureLine

_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Line:
    """One row of the forest plot; `mean` marks a mean of benchmarks."""

    label: str
    figures: Figures
    mean: bool = False


def forest(lines: Sequence[Line], margin: float) -> str:
    """Differences with their 95 % intervals, one a row; the band is what would not matter.

    Args:
        lines: benchmarks, families and the suite of one comparison, in the order shown.
        margin: smallest difference that would matter.
    """
    ends = [abs(end) for one in lines for end in (one.figures.ci_low, one.figures.ci_high)]
    reach = 1.08 * max([margin, *(end for end in ends if math.isfinite(end))])
    step = next((tick for tick in _TICKS if reach / tick <= 4), 1.0)

    def at(value: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, value / reach))

    count = int(reach / step)
    marks = [number * step for number in range(-count, count + 1)]
    rules = "".join(f'<i class="rule" style="left:{at(mark):.2f}%"></i>' for mark in marks)
    band = (
        f'<i class="band" style="left:{at(-margin):.2f}%;'
        f'width:{at(margin) - at(-margin):.2f}%"></i><i class="zero"></i>'
    )
    rows = []
    for line in lines:
        one = line.figures
        low, high = one.ci_low, one.ci_high
        level = "suite" if line.mean else ""
        bar = ""
        if math.isfinite(low):
            bar = f'<i class="bar" style="left:{at(low):.2f}%;width:{at(high) - at(low):.2f}%"></i>'
        dot = f'<i class="dot" style="left:{at(one.difference):.2f}%"></i>'
        said = f"{words.points(one.difference, True)} {words.interval(one)}"
        label = html.escape(line.label)
        verdict = html.escape(one.verdict)
        rows.append(
            f'<div class="line {_tone(one)} {level}"><div class="name">{label}</div>'
            f'<div class="track" role="img" aria-label="{label}: {said}">{rules}{band}{bar}{dot}'
            f'</div><div class="said"><b>{said}</b> <span>{verdict}</span></div></div>'
        )
    labels = "".join(
        f'<span style="left:{at(mark):.2f}%">{_tick(mark)}</span>'
        for mark in marks[:: max(1, len(marks) // 5)]
    )
    axis = f'<div class="line axis"><div></div><div class="ticks">{labels}</div><div></div></div>'
    return f'<div class="forest">{"".join(rows)}{axis}</div>'


def wins(lines: Sequence[BenchmarkComparison], run: str, baseline: str) -> str:
    """Items that the run got better, alike and worse than the baseline; the legend explains only
    what is drawn."""
    rows = []
    for one in lines:
        counts = {"wins": one.wins, "ties": one.ties, "losses": one.losses}
        parts = "".join(
            f'<i class="{kind}" style="width:{100 * count / one.n:.3f}%"></i>'
            for kind, count in counts.items()
        )
        said = " / ".join(f"{count:,}" for count in counts.values())
        label = html.escape(one.task)
        rows.append(
            f'<div class="line"><div class="name">{label}</div><div class="stack" role="img" '
            f'aria-label="{label}: {said}">{parts}</div><div class="said"><b>{said}</b></div></div>'
        )
    keys = (("wins", f"{run} better"), ("ties", "alike"), ("losses", f"{baseline} better"))
    legend = "".join(
        f'<span><i class="{kind}"></i>{html.escape(text)}</span>'
        for kind, text in keys
        if any(getattr(one, kind) for one in lines)
    )
    return f'<div class="legend">{legend}</div><div class="forest">{"".join(rows)}</div>'


def cost(panel: Panel, score: str) -> str:
    """Scores of the runs against what they cost. Each run is a number, small points are its seeds.

    Args:
        score: name of the vertical axis.
    """
    right = 1.08 * max(one.cost for one in panel.points) or 1.0
    scores = [value for one in panel.points for value in (one.score, *one.seeds)]
    room = max(0.2 * (max(scores) - min(scores)), 0.005)
    low, high = min(scores) - room, max(scores) + room

    def height(score: float) -> str:
        return f"bottom:{100 * (score - low) / (high - low):.2f}%"

    def place(spent: float) -> str:
        return f"left:{100 * spent / right:.2f}%"

    marks, legend = [], []
    for number, one in enumerate(panel.points, 1):
        marks += [f'<u style="{place(one.cost)};{height(seed)}"></u>' for seed in one.seeds]
        spent = words.tokens(one.cost) if one.cost >= 1000 else f"{one.cost:.4g}"
        said = html.escape(f"{one.run}: {words.points(one.score)} points, {spent}")
        marks.append(f'<b style="{place(one.cost)};{height(one.score)}">{number}</b>')
        legend.append(f"<span><b>{number}</b> {said}</span>")
    rules = "".join(
        f'<i style="{height(mark)}"><span>{100 * mark:.4g}</span></i>' for mark in _marks(low, high)
    )
    below = "".join(
        f'<span style="{place(mark)}">{mark:,.6g}</span>' for mark in _marks(0.0, right)
    )
    label = html.escape(f"{score} against {panel.label}")
    return (
        f'<figure class="cost"><figcaption>{label}</figcaption><div class="field" role="img" '
        f'aria-label="{label}">{rules}{"".join(marks)}</div><div class="ticks">{below}</div>'
        f'<div class="legend small">{"".join(legend)}</div></figure>'
    )


def _marks(low: float, high: float) -> list[float]:
    """Round numbers between two others, at most six."""
    size = 10.0 ** math.floor(math.log10(high - low))
    step = next(
        one for one in (size / 10, size / 5, size / 2, size, 2 * size) if (high - low) / one <= 5
    )
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def mixture(history: Sequence[MixtureLine]) -> str:
    """Proportions of the tasks over trained tokens, stacked, in steps.

    Args:
        history: the lines of a run's history, at least one.
    """
    tasks = list(history[0].proportions)
    last = history[-1].tokens or 1.0
    before = history[0].proportions
    points = [(0.0, before)]
    for line in history:
        # Between two updates the mixture stays as it is.
        at = line.tokens / last
        points += [(at, before), (at, line.proportions)]
        before = line.proportions
    below = [0.0] * len(points)
    areas = []
    for number, task in enumerate(tasks):
        above = [low + p.get(task, 0.0) for low, (_, p) in zip(below, points, strict=True)]
        upper = [
            f"{1000 * x:.1f},{300 * (1 - y):.1f}" for (x, _), y in zip(points, above, strict=True)
        ]
        lower = [
            f"{1000 * x:.1f},{300 * (1 - y):.1f}" for (x, _), y in zip(points, below, strict=True)
        ]
        shape = " ".join([*upper, *reversed(lower)])
        areas.append(
            f'<polygon points="{shape}" fill="{colour(number)}">'
            f"<title>{html.escape(task)}</title></polygon>"
        )
        below = above
    entries = []
    for number, task in enumerate(tasks):
        first, end = (words.points(one[1].get(task, 0.0)) for one in (points[0], points[-1]))
        key = f'<i style="background:{colour(number)}"></i>'
        entries.append(f"<span>{key}{html.escape(task)} {first} → {end} %</span>")
    legend = "".join(entries)
    return (
        '<svg class="area" viewBox="0 0 1000 300" preserveAspectRatio="none" role="img" '
        f'aria-label="Mixture over tokens">{"".join(areas)}</svg>'
        f'<div class="ends"><span>0 tokens</span><span>{words.tokens(last)} tokens</span></div>'
        f'<div class="legend small">{legend}</div>'
    )


def _tick(mark: float) -> str:
    return f"{100 * mark:+.3g}" if mark else "0"


def _tone(one: Figures) -> str:
    return one.verdict if one.verdict in ("better", "worse") else "open"
