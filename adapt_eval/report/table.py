"""Tables for the terminal, as text: colours only where there is a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from adapt_eval.comparison.schema import SeedPlan
from adapt_eval.report import words
from adapt_eval.schema import Overlap, Plan, Scores
from adapt_eval.suite import Suite

_WITHOUT_TERMINAL = 120
_NARROW = 100  # fewer columns than that are taken by numbers and names, not by lines
_WHOLE = 14  # letters of a name or a verdict that are never broken


def width() -> int:
    """Columns: those of $COLUMNS, else of the terminal, else 120."""
    return shutil.get_terminal_size(fallback=(_WITHOUT_TERMINAL, 24)).columns


def narrow() -> bool:
    """Whether a comparison with all of its columns would not fit."""
    return width() < _NARROW


def render(*parts: Any) -> str:
    """Rich renderables as text, as wide as `width` says."""
    terminal = sys.stdout.isatty()
    console = Console(file=io.StringIO(), width=width(), force_terminal=terminal, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: int) -> Table:
    """A table; the columns from number `right` on are numbers. What does not fit goes on in the
    next line, and nothing is cut; numbers, and words of the first two columns, stay whole."""
    lines: dict[str, Any] = (
        {"box": box.SIMPLE_HEAD, "padding": 0, "show_edge": False} if narrow() else {}
    )
    table = Table(title=title, title_justify="left", **lines)
    for number, column in enumerate(columns):
        texts = [column, *(row[number] for row in rows)]
        longest = max((len(word) for text in texts for word in text.split()), default=0)
        table.add_column(
            column,
            justify="right" if number >= right else "left",
            overflow="fold",
            min_width=longest if number >= right else min(_WHOLE, longest) if number < 2 else None,
        )
    for row in rows:
        table.add_row(*row)
    return table


def suite_table(suite: Suite) -> str:
    """The benchmarks of a suite."""
    rows = [
        (
            one.task,
            one.family,
            one.metric,
            ", ".join(one.needs),
            str(one.shots),
            f"{one.items:,}",
            f"{one.chance:.2f}",
            "" if one.floor is None else f"{one.floor:.2f}",
        )
        for one in suite.benchmarks
    ]
    columns = ("task", "family", "metric", "needs", "shots", "items", "chance", "floor")
    return render(f"{suite.name}: {suite.note}", grid("", columns, rows, 4))


def plan_table(plan: Plan) -> str:
    """What `run --dry-run` found."""
    rows = [
        (
            one.task,
            ", ".join(one.data.values()) or "made by the package",
            "yes" if one.done else "no",
            f"{one.items:,}",
            f"{one.minimum_detectable_effect:.3f}",
        )
        for one in plan.benchmarks
    ]
    columns = ("task", "data", "measured", "items", "detectable")
    models = plan.minimum_detectable_effect_for
    note = f"detectable: smallest difference found in 4 of 5 cases, for {models}"
    return render(grid(f"results go to {plan.folder}", columns, rows, 3), note)


def scores_table(scores: Scores) -> str:
    """What `run` measured."""
    rows = [
        (
            one.task,
            one.family,
            one.metric,
            f"{one.items:,}",
            f"{one.score:.4f}",
            f"{one.chance:.2f}",
            "" if one.floor is None else f"{one.floor:.2f}",
        )
        for one in scores.benchmarks
    ]
    columns = ("task", "family", "metric", "items", "score", "chance", "floor")
    title = f"{scores.suite}: {scores.note}"
    return render(title, grid("", columns, rows, 3), f"results in {scores.folder}")


def overlap_of_run(found: Overlap) -> str:
    """What `overlap` found: items that share a sequence of words with a training task."""
    rows = [
        (task, training, f"{hits:,}", f"{one.items:,}")
        for task, one in found.benchmarks.items()
        for training, hits in one.by.items()
    ]
    clean = [task for task, one in found.benchmarks.items() if not one.by]
    columns = ("benchmark", "training task", "items that overlap", "of")
    title = f"items that share {found.words} words in a row with a training row"
    none = f"no overlap: {', '.join(clean) or 'none of them'}"
    return render(grid(title, columns, rows, 2), none)


def seed_plan_table(plan: SeedPlan) -> str:
    """How many seeds an arm it takes, by how many times the items at hand."""
    more = list(plan.lines[0].seeds) if plan.lines else []
    rows = [
        (
            line.what if line.run == plan.lines[0].run else f"{line.what}, {line.run}",
            f"{line.items:,}",
            words.points(line.seed_deviation) + (" (assumed)" if line.assumed else ""),
            words.points(line.item_error),
            *("never" if line.seeds[one] is None else str(line.seeds[one]) for one in more),
        )
        for line in plan.lines
    ]
    columns = ("", "items", "seed deviation", "error of items", *(f"items x {one}" for one in more))
    effect = words.points(plan.effect)
    title = f"seeds an arm to find {effect} points in 4 of 5 cases, test at 5 %"
    notes = [
        "seed deviation and error of items are in points; the error of items stays however many "
        "seeds there are",
        "never: the items alone hide it, or more than 200 seeds would be needed",
    ]
    if any(line.assumed for line in plan.lines):
        notes.append("assumed: an arm has one seed, so what a seed does is not known")
    elif plan.lines:
        notes.append(
            "the deviation of few seeds is uncertain: that of three, by a factor of 0.5 to 6"
        )
    if any(line.paired for line in plan.lines):
        notes.append("seeds are paired: the deviation is that of the difference of two runs")
    return render(grid(title, columns, rows, 1), *(f"- {one}" for one in notes))
