"""The comparison as one HTML file: no scripts, no fonts, no links to anything outside."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from adapt_common.files import write_atomically
from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.benchmark import guess
from adapt_eval.comparison.schema import Comparison, SuiteComparison
from adapt_eval.history import mixture_history
from adapt_eval.report import plots, rows, words
from adapt_eval.report.spent import panels
from adapt_eval.training_time import training_seconds

_LONGEST_WORD = 12  # of a head of ours: "difference", "detectable", "effective"


def write_page(path: Path, result: Comparison, arms: Sequence[Arm]) -> None:
    """Write all or nothing.

    Args:
        result: what `compare` returned for the arms.
    """
    if path.is_dir():
        raise ValueError(f"--output {path}: is a folder; name a file in it")
    write_atomically(path, page(result, arms))


def page(result: Comparison, arms: Sequence[Arm]) -> str:
    """The whole document."""
    style = files("adapt_eval.report").joinpath("page.css").read_text(encoding="utf-8")
    runs = ", ".join(one.run for one in result.suites)
    title = f"{runs} against {result.baseline} on {result.measured_on.name}"
    parts = [_headline(result, suite) for suite in result.suites]
    parts += [_comparison(result, suite) for suite in result.suites]
    parts += [
        _tokens(result),
        _costs(result, arms),
        _mixtures(arms),
        _overlap(result),
        _remarks(result),
        _made(arms),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{_text(title)}</title><style>{style}</style></head>"
        f"<body><main><h1>{_text(title)}</h1>{''.join(parts)}</main></body></html>\n"
    )


def _headline(result: Comparison, suite: SuiteComparison) -> str:
    tone = suite.verdict if suite.verdict in ("better", "worse") else "open"
    return f'<p class="headline {tone}">{_text(words.headline(result, suite))}</p>'


def _comparison(result: Comparison, suite: SuiteComparison) -> str:
    run, baseline = suite.run, result.baseline
    benchmarks = [one for one in result.benchmarks if one.run == run]
    families = [one for one in result.families if one.run == run]
    shown = [
        *(plots.Line(one.task, one) for one in benchmarks),
        *(plots.Line(one.family, one, mean=True) for one in families),
        plots.Line("the suite", suite, mean=True),
    ]
    lines = []
    for one in benchmarks:
        ours, theirs, *rest = rows.figures(one)
        beside = (words.points(guess(one.chance, one.floor)), f"{one.n:,}")
        lines.append((one.task, ours, theirs, *beside, *rest, one.verdict))
    heads: tuple[str, ...] = ("benchmark", run, baseline, "guessing", "items", "difference", "95 %")
    heads = (*heads, "p", "p (Holm)", "detectable", "verdict")
    margin = words.points(result.smallest_effect)
    return (
        f"<section><h2>{_text(run)} less {_text(baseline)}, in points</h2>"
        f"<p>Right of the middle is better than {_text(baseline)}. Lines are 95 % intervals; the "
        f"band is ±{margin} points, the least that would matter.</p>"
        f"{plots.forest(shown, result.smallest_effect)}</section>"
        f"<section><h2>Items won, tied and lost</h2>{plots.wins(benchmarks, run, baseline)}"
        f"</section><section><h2>Figures</h2>{_table(heads, lines, range(1, 10))}</section>"
    )


def _tokens(result: Comparison) -> str:
    heads: tuple[str, ...] = ("run", "effective training tokens", "meta tokens", "score")
    heads = (*heads, "score per million tokens")
    text = f"<section><h2>Tokens spent</h2>{_table(heads, rows.tokens(result), range(1, 5))}"
    runs, shares = rows.shares(result)
    if shares:
        heads = ("training task", *(f"{run}, %" for run in runs))
        text += f"<h3>Where they went</h3>{_table(heads, shares, range(1, len(heads)))}"
    return text + "</section>"


def _costs(result: Comparison, arms: Sequence[Arm]) -> str:
    seconds = {arm.name: training_seconds([run.place for run in arm.runs]) for arm in arms}
    score = f"score on {result.measured_on.name}, points,"
    drawn = "".join(plots.cost(one, score) for one in panels(result, seconds))
    if not drawn:
        return ""
    return f'<section><h2>Better, or only later?</h2><div class="costs">{drawn}</div></section>'


def _mixtures(arms: Sequence[Arm]) -> str:
    parts = []
    for arm in arms:
        if history := mixture_history(arm.runs[0].place):
            parts.append(f"<h3>{_text(arm.name)}</h3>{plots.mixture(history)}")
    if not parts:
        return ""
    return f"<section><h2>Mixture over tokens</h2>{''.join(parts)}</section>"


def _overlap(result: Comparison) -> str:
    lines = words.overlap_lines(result)
    shown = _table(rows.OVERLAP, lines, range(0)) if lines else ""
    said = _text(words.overlap_remark(result))
    return f"<section><h2>Overlap with the training data</h2><p>{said}.</p>{shown}</section>"


def _remarks(result: Comparison) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in words.remarks(result))
    return f"<section><h2>How to read this</h2><ul>{items}</ul></section>"


def _made(arms: Sequence[Arm]) -> str:
    models = []
    for arm in arms:
        for run in arm.runs:
            model = run.manifest.model
            version = run.manifest.versions.get("lm_eval", "")
            models.append((arm.name, model.name, model.hash[:12], version, run.manifest.made))
    heads = ("run", "model", "hash", "lm-eval", "measured")
    now = datetime.now(UTC).isoformat(timespec="minutes")
    return (
        f"<section><h2>Models</h2>{_table(heads, models, range(0))}<p>Written {now}.</p></section>"
    )


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], right: range) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="{kind(number, text)}">{_text(text)}</{tag}>'
            for number, text in enumerate(texts)
        )

    def kind(number: int, text: str) -> str:
        # Only a name may be broken inside of a word, and only a long one.
        long = any(len(word) > _LONGEST_WORD for word in text.split())
        return " ".join(["number"] * (number in right) + ["long"] * long)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in lines)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def _text(value: str) -> str:
    return html.escape(str(value))
