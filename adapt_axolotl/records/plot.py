"""Pictures of a mixture over the tokens trained on: PNG, and HTML that needs nothing beside it."""

from __future__ import annotations

import html
import io
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import colormaps
from matplotlib.figure import Figure


def mixture_figure(history: list[dict[str, Any]]) -> Figure:
    """Stacked proportions over trained tokens.

    Args:
        history: lines of `history.jsonl`, at least one.
    """
    tokens = [line["tokens"] for line in history]
    tasks = list(history[0]["proportions"])
    shares = [[line["proportions"][task] for line in history] for task in tasks]
    if len(tokens) == 1:  # one line in the history still makes a picture
        tokens = [0, *tokens]
        shares = [[share[0], share[0]] for share in shares]
    figure = Figure(figsize=(9, max(4.0, 0.22 * len(tasks))), layout="constrained")
    axes = figure.add_subplot()
    palette = colormaps["tab20"]
    axes.stackplot(
        tokens,
        shares,
        labels=tasks,
        colors=[palette(number % 20) for number in range(len(tasks))],
        step="post",
    )
    axes.set(xlabel="supervised tokens trained on", ylabel="proportion", ylim=(0, 1))
    axes.set_xlim(tokens[0], max(tokens[-1], tokens[0] + 1))
    if len(tasks) <= 40:
        handles, labels = axes.get_legend_handles_labels()
        # Reversed: the legend then stands in the order of the stack.
        axes.legend(
            handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8
        )
    return figure


def mixture_png(history: list[dict[str, Any]]) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    mixture_figure(history).savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def mixture_html(history: list[dict[str, Any]]) -> str:
    """A page with the picture as inline SVG and the last proportions as a table."""
    buffer = io.StringIO()
    mixture_figure(history).savefig(buffer, format="svg")
    svg = buffer.getvalue()
    first, last = history[0]["proportions"], history[-1]["proportions"]
    rows = "\n".join(
        f"<tr><td>{html.escape(task)}</td><td>{first[task]:.1%}</td><td>{share:.1%}</td></tr>"
        for task, share in last.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Task mixture</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; }}
body {{ padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}
td, th {{ padding: .1rem .8rem .1rem 0; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
</style>
</head>
<body>
<h1>Task mixture over supervised tokens</h1>
{svg[svg.index("<svg") :]}
<table>
<tr><th>task</th><th>first</th><th>last</th></tr>
{rows}
</table>
</body>
</html>
"""
