"""The commands that read what was measured: compare, report, overlap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt_eval.errors import GATE_FAILED
from adapt_eval.installed import need
from adapt_eval.json_option import Json

if TYPE_CHECKING:
    from adapt_eval.comparison.arms import Arm
    from adapt_eval.comparison.schema import Comparison

Arms = Annotated[
    list[str],
    typer.Argument(
        help="Directories that `adapt-eval run` has measured, or logs of lm-eval, Inspect or "
        "lighteval: RUN, NAME=RUN, or NAME=RUN,RUN for several seeds of one way of training."
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(help="Name of the run that the others are compared with. Default: the first."),
]
Smallest = Annotated[float, typer.Option(help="Smallest score difference that would matter.")]
Differences = Annotated[
    bool, typer.Option("--allow-differences", help="Compare although settings or prompts differ.")
]
OneSuite = Annotated[
    str | None,
    typer.Option(
        help="Suite to read, if runs were measured on several; for logs alone, the suite or YAML "
        "file that tells metrics, chance and families."
    ),
]


def compare(
    runs: Arms,
    baseline: Baseline = None,
    suite: OneSuite = None,
    smallest_effect: Smallest = 0.03,
    allow_differences: Differences = False,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    fail_on: Annotated[
        str | None, typer.Option(help="regression: exit with code 3 if anything got worse.")
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Say instead how many seeds and items it takes to find --smallest-effect.",
        ),
    ] = False,
) -> None:
    """Compare runs with a baseline, paired item by item.

    Differences are run minus baseline. With several seeds in both arms the seed is the unit, and
    the comparison is one of ways of training; else it is one of these models.
    """
    from adapt_eval.comparison.arms import read_arms
    from adapt_eval.comparison.compare import compare as compare_arms

    if fail_on not in (None, "regression"):
        raise ValueError(f"--fail-on {fail_on}: there is regression")
    arms = read_arms(runs, suite)
    if plan:
        if fail_on or markdown:
            raise ValueError("--plan compares nothing: leave out --fail-on and --markdown")
        _plan(arms, baseline, smallest_effect, allow_differences, as_json)
        return
    result = compare_arms(arms, baseline, smallest_effect, allow_differences)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    elif markdown:
        from adapt_eval.report.markdown import as_markdown

        typer.echo(as_markdown(result))
    else:
        from adapt_eval.report.comparison_table import comparison_tables

        typer.echo(comparison_tables(result))
    if fail_on:
        _gate(result)


def report(
    runs: Arms,
    output: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    baseline: Baseline = None,
    suite: OneSuite = None,
    smallest_effect: Smallest = 0.03,
    allow_differences: Differences = False,
    charts: Annotated[
        Path | None,
        typer.Option(
            help="Folder for charts as PNG and SVG: differences with their intervals, and scores "
            "against tokens and training time."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a comparison as one HTML file with plots, without scripts or links."""
    from adapt_eval.comparison.arms import read_arms
    from adapt_eval.comparison.compare import compare as compare_arms
    from adapt_eval.report.page import write_page

    arms = read_arms(runs, suite)
    result = compare_arms(arms, baseline, smallest_effect, allow_differences)
    write_page(output, result, arms)
    written = [output]
    if charts is not None:
        from adapt_eval.report.charts import write_charts
        from adapt_eval.training_time import training_seconds

        seconds = {arm.name: training_seconds([run.place for run in arm.runs]) for arm in arms}
        written += write_charts(charts, result, seconds)
    said = {"report": str(output), "charts": [str(one) for one in written[1:]]}
    typer.echo(json.dumps(said) if as_json else "\n".join(map(str, written)))


def overlap(
    run: Annotated[str, typer.Argument(help="A directory that `adapt-eval run` has measured.")],
    train: Annotated[
        Path | None,
        typer.Option(
            help="Folder of training rows, with a folder or file for each task: JSON, CSV, "
            "parquet, arrow or text. Default: the files that the run's recipe names."
        ),
    ] = None,
    suite: OneSuite = None,
    as_json: Json = False,
) -> None:
    """Search the training rows for items of the benchmarks.

    The result is kept beside the run's scores, and `adapt-eval compare` shows it. Training data
    that cannot be read is named on stderr.
    """
    need("overlap", "datasets")
    from adapt_eval.comparison.arms import read_run
    from adapt_eval.comparison.overlap import write_overlap
    from adapt_eval.comparison.training_texts import texts_below, training_texts
    from adapt_eval.report.table import overlap_of_run
    from adapt_eval.results import Result

    measured = read_run(Path(run), suite)
    results = [one for one in measured.results.values() if isinstance(one, Result)]
    texts = texts_below(train) if train else training_texts(Path(run))
    found = write_overlap(results, texts)
    for one in found.not_read:
        typer.echo(f"not read, so not compared: {one.file}: {one.reason}", err=True)
    typer.echo(found.model_dump_json(indent=2) if as_json else overlap_of_run(found))


def _plan(
    arms: Sequence[Arm], baseline: str | None, effect: float, allow: bool, as_json: bool
) -> None:
    from adapt_eval.comparison.compare import paired_arms
    from adapt_eval.comparison.schema import SeedPlan
    from adapt_eval.comparison.seed_plan import seed_plan
    from adapt_eval.report.table import seed_plan_table

    paired = paired_arms(arms, baseline, effect, allow)
    lines = [line for run, one in paired.found.items() for line in seed_plan(run, one, effect)]
    planned = SeedPlan(effect=effect, lines=lines)
    typer.echo(planned.model_dump_json(indent=2) if as_json else seed_plan_table(planned))


def _gate(result: Comparison) -> None:
    worse = [f"{one.run} suite" for one in result.suites if one.verdict == "worse"]
    worse += [f"{one.run} {one.task}" for one in result.benchmarks if one.verdict == "worse"]
    if worse:
        typer.echo(f"adapt-eval: worse: {', '.join(worse)}", err=True)
        raise typer.Exit(GATE_FAILED)
