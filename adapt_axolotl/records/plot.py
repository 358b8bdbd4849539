"""The picture of a mixture over the tokens trained on, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adapt_axolotl.records.trajectory import Trajectory, compact
from adapt_common.colours import colour

# Characters of a name in the legend: a task without a name of its own is called by its path.
_LONGEST = 40
_OTHERS = "#c4c8ce"  # the band of tasks that the legend does not name
_FONT = "DejaVu Sans"  # comes with matplotlib


def mixture_figure(run: Trajectory) -> Figure:
    """Stacked proportions over trained tokens, as the steps that they are."""
    # Not through pyplot, so no backend is chosen for the process that trains.
    figure = Figure(figsize=(9, max(4.0, 0.24 * len(run.named))), layout="constrained")
    axes = figure.add_subplot()
    shares = [run.shares[:, number] for number in run.named]
    colours = [colour(number) for number in run.named]
    if run.others:
        shares.append(run.shares[:, run.others].sum(axis=1))
        colours.append(_OTHERS)
    below = np.zeros(len(run.shares))
    for share, tone in zip(shares, colours, strict=True):
        axes.stairs(below + share, run.edges, baseline=below, fill=True, color=tone)
        below = below + share
    axes.set(xlabel="supervised tokens trained on", ylabel="proportion", ylim=(0, 1))
    axes.set_xlim(0, run.edges[-1])
    axes.xaxis.set_major_formatter(lambda tokens, _: compact(tokens))
    _add_legend(axes, run, colours)
    return figure


def mixture_png(run: Trajectory) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    mixture_figure(run).savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _add_legend(axes: Any, run: Trajectory, colours: list[str]) -> None:
    labels = [_short(run.tasks[number]) for number in run.named]
    if run.others:
        labels.append(f"{len(run.others)} smaller tasks")
    fonts, shown = with_fonts(labels)
    # Reversed: the legend then stands in the order of the stack.
    legend = axes.legend(
        [Patch(color=tone) for tone in colours[::-1]],
        [str(number) for number in range(len(labels))],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        prop={"family": fonts, "size": 8},
    )
    for text, label in zip(legend.get_texts(), shown[::-1], strict=True):
        # Set here, because a legend leaves out labels that begin with an underscore.
        text.set_parse_math(False)
        text.set_text(label)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]


def with_fonts(labels: Iterable[str]) -> tuple[list[str], list[str]]:
    """Font families that together have the characters of the labels, and the labels with what none
    of the installed fonts has written as escapes (`\\u4efb`), where a picture would have boxes."""
    labels = list(labels)
    base = font_manager.findfont(_FONT)
    missing = {one for one in set("".join(labels)) if not _has(base, one)}
    families = [_FONT]
    for font in font_manager.fontManager.ttflist:
        wanted = {one for one in missing if one.isprintable()}
        if not wanted:
            break
        # That of last resort has boxes for all of Unicode.
        plain = (font.style, font.weight, font.stretch) == ("normal", 400, "normal")
        if not plain or font.name.startswith("Last Resort"):
            continue
        # The name must lead back to this file.
        named = font_manager.FontProperties(family=[font.name], size=8)
        if font_manager.findfont(named) != font.fname:
            continue
        found = {one for one in wanted if _has(font.fname, one)}
        if found:
            families.append(font.name)
            missing -= found
    escapes = {ord(one): one.encode("unicode_escape").decode() for one in missing}
    return families, [label.translate(escapes) for label in labels]


def _has(file: str, character: str) -> bool:
    """Whether matplotlib can draw a character with a font file."""
    try:
        font = font_manager.get_font(file)
        if font.get_char_index(ord(character)) == 0:
            return False
        font.set_size(8, 120)
        font.load_char(ord(character))
    except RuntimeError:  # a font of bitmaps, as those of emoji are
        return False
    return True
