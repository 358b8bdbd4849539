"""Charts to share, as PNG and SVG: readable in print and without colour.

Two of them: differences with their intervals (a forest plot), and scores against what training
cost, which tells whether a run is better or only later.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from adapt_common.files import write_atomically
from adapt_eval.comparison.schema import Comparison, Figures
from adapt_eval.report import words
from adapt_eval.report.spent import panels

_INK, _GREY, _BAND = "#111111", "#777777", "#e6e6e6"
_SURE = "p below 5 % after Holm"
_MARKERS = "osD^vPX*<>"
# Text stays text in the SVG, and equal input gives an equal file.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "adapt-eval", "font.family": "DejaVu Sans"}


def write_charts(
    folder: Path, result: Comparison, seconds: Mapping[str, float | None]
) -> list[Path]:
    """Write `forest-RUN` for each run, and `cost` where tokens are known; each as PNG and SVG.

    Args:
        seconds: run -> wall time of its training, None where it is not known.

    Returns:
        The files.

    Raises:
        ValueError: the folder's name is that of a file.
    """
    if folder.is_file():
        raise ValueError(f"--charts {folder}: is a file; name a folder")
    figures = {f"forest-{_plain(one.run)}": forest(result, one.run) for one in result.suites}
    if drawn := cost(result, seconds):
        figures["cost"] = drawn
    written = []
    for name, figure in figures.items():
        for kind in ("png", "svg"):
            with matplotlib.rc_context(_STYLE):
                buffer = io.BytesIO()
                metadata = {"Date": None} if kind == "svg" else None
                figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
            path = folder / f"{name}.{kind}"
            write_atomically(path, buffer.getvalue())
            written.append(path)
    return written


def forest(result: Comparison, run: str) -> Figure:
    """Differences of one run from the baseline, in points, with 95 % intervals: benchmarks by
    family, then families, then the suite. The band is what would not matter. A mark is filled
    where the verdict is better or worse, so that no colour is needed."""
    lines = _lines(result, run)
    figure = Figure(figsize=(7.5, 1.4 + 0.3 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    margin = 100 * result.smallest_effect
    axes.axvspan(-margin, margin, color=_BAND, lw=0)
    axes.axvline(0, color=_GREY, lw=0.8)
    for place, (_, one, level) in enumerate(lines):
        marker, size = ("D", 7.0) if level else ("o", 5.0)
        if math.isfinite(one.ci_low):
            axes.plot([100 * one.ci_low, 100 * one.ci_high], [place, place], color=_INK, lw=1.2)
        axes.plot(
            100 * one.difference,
            place,
            marker=marker,
            ms=size,
            color=_INK,
            mfc=_INK if _sure(one) else "white",
        )
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(lines)), [_said(one) for _, one, _ in lines])
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    filled = f"; filled: {_SURE}" if any(_sure(one) for _, one, _ in lines) else ""
    axes.set_xlabel(f"{run} less {result.baseline}, points (95 % intervals{filled})")
    (suite,) = (one for one in result.suites if one.run == run)
    claim = suite.claim[0].upper() + suite.claim[1:]
    figure.suptitle(f"{result.measured_on.name}\n{claim}", x=0.01, ha="left", fontsize=8)
    _plain_axes(axes)
    return figure


def cost(result: Comparison, seconds: Mapping[str, float | None]) -> Figure | None:
    """Score of every run against tokens spent, and against wall time where all runs know it; each
    run with a mark of its own, and a small one for each of its seeds' scores.

    Returns:
        None where fewer than two runs have a ledger.
    """
    shown = panels(result, seconds)
    if not shown:
        return None
    figure = Figure(figsize=(4.4 * len(shown) + 0.6, 3.8), layout="constrained")
    for number, panel in enumerate(shown, 1):
        axes = figure.add_subplot(1, len(shown), number)
        for place, one in enumerate(panel.points):
            marker = _MARKERS[place % len(_MARKERS)]
            seeds = [100 * score for score in one.seeds]
            axes.plot([one.cost] * len(seeds), seeds, marker, ms=3, color=_GREY)
            filled = _INK if place % 2 == 0 else "white"
            axes.plot(
                one.cost, 100 * one.score, marker, ms=7, color=_INK, mfc=filled, label=one.run
            )
        axes.set(xlabel=panel.label, ylabel=f"score on {result.measured_on.name}, points")
        axes.margins(0.15)
        _plain_axes(axes)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _lines(result: Comparison, run: str) -> list[tuple[str, Figures, bool]]:
    lines: list[tuple[str, Figures, bool]] = []
    families = [one for one in result.families if one.run == run]
    for family in families:
        own = [one for one in result.benchmarks if one.run == run and one.family == family.family]
        lines += [(one.task, one, False) for one in own]
    lines += [(family.family, family, True) for family in families]
    lines += [("the suite", one, True) for one in result.suites if one.run == run]
    return lines


def _sure(one: Figures) -> bool:
    return one.verdict in ("better", "worse")


def _said(one: Figures) -> str:
    verdict = one.verdict.partition(" (")[0]
    return f"{words.points(one.difference, True)} {words.interval(one)}  {verdict}"


def _plain_axes(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(name: str) -> str:
    """A name of a run as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
