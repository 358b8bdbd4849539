"""The page of a run: its mixture and its losses over the tokens trained on.

One HTML file that needs no network; without scripts only the values under the pointer are missing.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from adapt_axolotl.records import svg
from adapt_axolotl.records.effects import LEGEND, TITLE, effects_table, summary
from adapt_axolotl.records.trajectory import Trajectory
from adapt_common.colours import colour


def mixture_page(
    name: str,
    run: Trajectory,
    ledger: Mapping[str, Any],
    mixture: Mapping[str, Mapping[str, float]],
    evidence: str = "",
    meta_steps: int = 0,
    effects: Mapping[str, Any] | None = None,
) -> str:
    """The whole document.

    Args:
        name: of the run.
        run: what is drawn.
        ledger: the content of `ledger.json`.
        mixture: the content of `mixture.json`.
        evidence: how far what was measured stands out from noise; empty for a static run.
        meta_steps: how many the run took.
        effects: the content of `effects.json`, where it was measured.
    """
    folder = files("adapt_axolotl.records")
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    title = html.escape(f"{name}: task mixture")
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        _facts(ledger, len(run.tasks), meta_steps),
        f'<p class="evidence">{html.escape(evidence)}</p>' if evidence else "",
        _mixture(run, mixture),
        _losses(run),
        _tasks(run, ledger, mixture),
        "" if effects is None else _effects(effects),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main>"
        f'<script type="application/json" id="run">{_data(run)}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _facts(ledger: Mapping[str, Any], tasks: int, meta_steps: int) -> str:
    before = ledger.get("tokens_spent_before")
    charged = "charged to the budget" if ledger["meta_tokens_charged"] else "beside the budget"
    facts = {
        "token budget": f"{ledger['budget']:,}",
        "tokens trained on": f"{ledger['used']:,}",
        "tokens left": f"{ledger['left']:,}",
        **({} if not before else {"tokens of the runs that its mixture comes from": f"{before:,}"}),
        f"tokens read by meta steps, {charged}": f"{ledger['meta_tokens']:,}",
        "optimizer steps": f"{ledger['steps']:,}",
        "meta steps": f"{meta_steps:,}",
        "tasks": f"{tasks:,}",
    }
    items = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    return f"<dl>{items}</dl><p>Tokens are supervised tokens (labels other than -100).</p>"


def _mixture(run: Trajectory, mixture: Mapping[str, Mapping[str, float]]) -> str:
    said = "It stayed the same for the whole run."
    if len(run.shares) > 1:
        said = "It changes at meta steps. Below the chart: each share at the start and at the end."
    below = [0.0] * len(run.shares)
    bands: dict[bool, list[str]] = {True: [], False: []}
    legend = []
    named = run.named
    for place, number in enumerate([*named, *run.others]):
        above = [low + share for low, share in zip(below, run.shares[:, number], strict=True)]
        coloured = place < len(named)
        grey = f"var(--{('other', 'another')[place % 2]})"
        ends = _ends(mixture, [run.tasks[number]])
        bands[coloured].append(
            f'<path data-task="{number}" fill="{colour(number) if coloured else grey}" '
            f'd="{svg.band(run, below, above)}"><title>{html.escape(run.tasks[number])}: {ends}'
            "</title></path>"
        )
        if coloured:
            legend.append(_entry(run.tasks[number], colour(number), [number], ends))
        below = above
    if run.others:
        ends = _ends(mixture, [run.tasks[number] for number in run.others])
        label = f"{len(run.others)} smaller tasks"
        legend.append(_entry(label, "var(--other)", run.others, ends))
    plot = svg.plot(
        "bands",
        "Share of each task over the tokens trained on, stacked; the table below has the values",
        "".join(bands[True]) + f'<g class="others">{"".join(bands[False])}</g>',
        run,
        [(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)],
    )
    return (
        f'<section id="mixture"><h2>Mixture over tokens</h2><p class="readout">{said}</p>{plot}'
        f'<ul class="legend">{"".join(legend)}</ul></section>'
    )


def _ends(mixture: Mapping[str, Mapping[str, float]], tasks: Sequence[str]) -> str:
    first, last = (sum(mixture[which][task] for task in tasks) for which in ("initial", "final"))
    texts = dict.fromkeys(f"{100 * share:.1f}" for share in (first, last))
    return " → ".join(texts) + "%"


def _entry(label: str, tone: str, tasks: Sequence[int], said: str) -> str:
    numbers = " ".join(map(str, tasks))
    return (
        f'<li><i style="background:{tone}"></i><span class="name">{_breakable(label)}</span>'
        f'<b data-tasks="{numbers}">{said}</b></li>'
    )


def _breakable(name: str) -> str:
    """A name as HTML that breaks between its words where it is long."""
    return re.sub("([_/])", r"\1<wbr>", html.escape(name))


def _losses(run: Trajectory) -> str:
    if max(map(len, run.losses)) <= 2:
        return (
            "<section><h2>Loss over tokens</h2><p>Measured at the start and at the end "
            "only: see the table.</p></section>"
        )
    top = max((loss for points in run.losses for _, loss in points), default=1.0) or 1.0
    ticks = svg.ticks(top)
    named = set(run.named)
    lines: dict[bool, list[str]] = {True: [], False: []}
    for number, points in enumerate(run.losses):
        if not points:
            continue
        tone = f' stroke="{colour(number)}"' if number in named else ""
        lines[number in named].append(
            f'<path data-task="{number}"{tone} d="{svg.line(run, points, top)}">'
            f"<title>{html.escape(run.tasks[number])}: {points[0][1]:.3f} → {points[-1][1]:.3f}"
            "</title></path>"
        )
    plot = svg.plot(
        "lines",
        "Loss of each task over the tokens trained on; the table below has the first and the last",
        f'<g class="others">{"".join(lines[False])}</g>' + "".join(lines[True]),
        run,
        [(tick / top, f"{tick:g}") for tick in ticks],
    )
    return (
        f'<section id="losses" data-top="{top}"><h2>Loss over tokens</h2>'
        '<p class="readout">Loss per supervised token, in the colours above. The first and the '
        "last are of validation rows. Those between are of training rows seen for the first time "
        "(a straight line at the end: there were none any more), or, by other measures, of a few "
        f"validation rows, and noisy.</p>{plot}</section>"
    )


def _tasks(
    run: Trajectory, ledger: Mapping[str, Any], mixture: Mapping[str, Mapping[str, float]]
) -> str:
    shares = ("share at start", "average share", "share at end")
    heads = ("task", *shares, "tokens", "repeats", "first loss", "last loss")
    named = set(run.named)
    rows = []
    for number, name in enumerate(run.tasks):
        task = ledger["tasks"][name]
        tone = colour(number) if number in named else "var(--other)"
        cells = [
            *(f"{mixture[which][name]:.1%}" for which in ("initial", "average", "final")),
            f"{task['tokens']:,}",
            f"{task['repeats']:.2f}",
            *(
                "n/a"
                if task[f"{which}_validation_loss"] is None
                else f"{task[f'{which}_validation_loss']:.3f}"
                for which in ("first", "last")
            ),
        ]
        rows.append(
            f'<tr><th scope="row"><i style="background:{tone}"></i>{_breakable(name)}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        f'<section><h2>Tasks</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><p>The average share is weighted by tokens; "
        "repeats are passes over the rows of a task.</p></section>"
    )


def _effects(content: Mapping[str, Any]) -> str:
    header, rows = effects_table(content)
    head = "".join(f'<th scope="col">{_breakable(text)}</th>' for text in header)
    body = "".join(
        f'<tr><th scope="row">{_breakable(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<section><h2>{TITLE}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div><p>{html.escape(LEGEND)}</p>"
        f"<p>{html.escape(summary(content))}</p></section>"
    )


def _data(run: Trajectory) -> str:
    """What the script reads."""
    content = {
        "tasks": run.tasks,
        "edges": run.edges.tolist(),
        "shares": run.shares.T.round(4).tolist(),
        "losses": [[(at, round(loss, 4)) for at, loss in points] for points in run.losses],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
