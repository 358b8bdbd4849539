"""Figures of the study, as SVG. K tasks."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from study_compare import Group
from study_measured import Measured, Run
from study_metrics import READ
from study_tables import percent

from adapt_eval.statistics.paired import estimate

# Text stays text, and equal input gives an equal file.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "study", "font.size": 8}
_LINES = ("-", "--", "-.", ":")
# Of the dose-response: octaves of passes.
_OCTAVES = np.arange(-6, 8)


def svg(figure: Figure) -> bytes:
    """The file."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def figures(measured: Measured) -> Iterator[tuple[str, str, Figure]]:
    """(name of the file, what it shows, the figure) of all that there are runs for."""
    own = [group for group in measured.groups if group.kind == "all"]
    for budget in dict.fromkeys(group.budget for group in own):
        some = [group for group in own if group.budget == budget]
        share = percent(budget)
        name = share.removesuffix("%").replace(".", "_")
        yield (
            f"arms_{name}",
            f"Exact match and loss at {share}, means over seeds with 95 % intervals. Small marks "
            "are seeds.",
            arms(measured, some),
        )
        for group in some:
            if group.regime == "natural":
                yield (
                    f"curves_{name}",
                    f"Validation loss, mean over tasks and seeds, at {share} in the natural "
                    "regime: over tokens, those of runs before and those read to measure "
                    "charged, and over the processor time of the run itself.",
                    curves(measured, group),
                )
                yield (
                    f"mixtures_{name}",
                    f"Final shares at {share} in the natural regime, in powers of two of a uniform "
                    "one, seed by seed.",
                    mixtures(measured, group),
                )
    if own:
        yield (
            "regret",
            "By how much the exact match of each arm ends behind that of the best one, in points.",
            regret(measured, own),
        )
    yield (
        "repeats",
        "Exact match of a task against how often its rows were repeated, over all runs: a mark is "
        "the mean over the tasks of one octave, its size how many they are.",
        repeats(measured),
    )


def arms(measured: Measured, own: Sequence[Group]) -> Figure:
    """A line of panels for each regime."""
    most = max(len(group.cells) for group in own)
    figure = Figure(figsize=(8, len(own) * (0.9 + 0.2 * most)), layout="constrained")
    axes = figure.subplots(len(own), 2, squeeze=False)
    for line, group in zip(axes, own, strict=True):
        for axis, key in zip(line, ("exact_match", "loss"), strict=True):
            for place, arm in enumerate(group.cells):
                values = np.array([run.mean(key) for run in measured.of_arm(group, arm)])
                axis.plot(values, np.full(len(values), place), ".", ms=3, color="#999999")
                low, high = estimate(values).interval()
                if np.isfinite(low):
                    axis.plot([low, high], [place, place], color="#111111", lw=1)
                axis.plot(values.mean(), place, "o", ms=4, color="#111111")
            axis.set_yticks(range(len(group.cells)), list(group.cells))
            axis.invert_yaxis()
            axis.set_xlabel(key.replace("_", " "))
            axis.set_title(group.regime, loc="left")
            _plain(axis)
    return figure


def curves(measured: Measured, group: Group) -> Figure:
    """Two panels: tokens and time."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    styles = cycle(_LINES)
    for arm in group.cells:
        runs, style = measured.of_arm(group, arm), next(styles)
        points = [_curve(run) for run in runs]
        shortest = min(len(losses) for _, _, losses in points)
        tokens, seconds, losses = (
            np.mean([one[part][:shortest] for one in points], axis=0) for part in range(3)
        )
        for axis, across in zip(axes, (tokens, seconds), strict=True):
            axis.plot(across, losses, style, lw=1, label=arm)
    axes[0].set(xlabel="supervised tokens", ylabel="validation loss, nats per supervised token")
    axes[1].set(xlabel="seconds of one core")
    axes[1].legend(frameon=False, fontsize=6)
    for axis in axes:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:.3g}")
        axis.yaxis.set_minor_formatter("{x:.3g}")
        axis.tick_params(which="both", labelsize=6)
        _plain(axis)
    return figure


def _curve(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tokens, seconds, mean loss) at each moment."""
    first = run.tasks[0]
    on = np.array(first["curve_tokens"])
    charged = first["tokens_before"] + on * (1 + first["meta_tokens"] / first["run_tokens"])
    losses = np.mean([line["curve_losses"] for line in run.tasks], axis=0)
    return charged, np.array(first["curve_seconds"]), losses


def mixtures(measured: Measured, group: Group) -> Figure:
    """A panel an arm, a column a seed, a line a task."""
    tasks = [line["task"] for line in measured.of_arm(group, "uniform")[0].tasks]
    names = [arm for arm in group.cells if arm != "uniform"]
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(1.6 + 1.35 * columns, 0.5 + 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    image = None
    for place, arm in enumerate(names):
        runs = measured.of_arm(group, arm)
        shares = np.array([[line["final_share"] for line in run.tasks] for run in runs]).T
        axis = axes[place]
        with np.errstate(divide="ignore"):
            octaves = np.log2(shares * len(tasks))
        image = axis.imshow(octaves, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
        axis.set_xticks(range(len(runs)), [str(run.cell.seed) for run in runs])
        axis.set_yticks(range(len(tasks)), tasks if place % columns == 0 else [])
        axis.tick_params(labelsize=6, length=0)
        axis.set_title(arm, fontsize=7)
    figure.colorbar(image, ax=axes.tolist(), shrink=0.5, label="log2(share x K)")
    return figure


def regret(measured: Measured, own: Sequence[Group]) -> Figure:
    """Arms by regimes and budgets."""
    names = list(dict.fromkeys(arm for group in own for arm in group.cells))
    values = np.full((len(names), len(own)), np.nan)
    for column, group in enumerate(own):
        for arm in group.cells:
            values[names.index(arm), column] = 0.0
        for line in measured.differences("best", group, "exact_match"):
            behind = round(-100 * READ["exact_match"](line["difference"]), 1) + 0.0
            values[names.index(line["arm"]), column] = behind
    figure = Figure(figsize=(2.5 + 0.7 * len(own), 1.2 + 0.25 * len(names)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, cmap="Greys", aspect="auto", vmin=0)
    dark = np.nanmax(values) / 2
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        behind = values[row, column]
        colour = "white" if behind > dark else "black"
        axis.text(column, row, f"{behind:.1f}", ha="center", va="center", color=colour, fontsize=6)
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks(range(len(own)), [f"{group.regime}\n{percent(group.budget)}" for group in own])
    axis.tick_params(labelsize=6)
    return figure


def repeats(measured: Measured) -> Figure:
    """A line a budget."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    own = [
        line
        for run in measured.runs.values()
        for line in run.of(run.cell.regime).tasks
        if line["reported"] and line["tokens"]
    ]
    for budget in sorted({line["budget"] for line in own}):
        some = [line for line in own if line["budget"] == budget]
        doses = np.log2([line["repeats"] for line in some])
        exact = np.array([line["exact_match"] for line in some])
        octave = np.clip(np.floor(doses), _OCTAVES[0], _OCTAVES[-1])
        there = [at for at in _OCTAVES if (octave == at).any()]
        means = [exact[octave == at].mean() for at in there]
        counts = np.array([(octave == at).sum() for at in there])
        across = 2.0 ** (np.array(there) + 0.5)
        (drawn,) = axis.plot(across, means, lw=1, label=percent(budget))
        axis.scatter(across, means, s=4 + 60 * counts / counts.max(), color=drawn.get_color())
    axis.set_xscale("log", base=2)
    axis.set(xlabel="passes over the rows of a task", ylabel="exact match")
    axis.legend(frameon=False, title="budget")
    _plain(axis)
    return figure


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
