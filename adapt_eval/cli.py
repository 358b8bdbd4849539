"""The `adapt-eval` command. Heavy imports stay inside the commands, so that --help is quick.

stdout is data, stderr is talk. Options come from the flag, else the environment
(ADAPT_EVAL_<COMMAND>_<OPTION>), else the file that --config names, else the default.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapt_eval.errors import (
    FAILED,
    GATE_FAILED,
    INTERRUPTED,
    NOT_COMPARABLE,
    USAGE,
    NotComparable,
    RunFailed,
)

if TYPE_CHECKING:
    from adapt_eval.comparison.schema import Comparison


def _examples(*commands: str) -> str:
    """The end of a help text, one command a line."""
    return "\b\nExamples:\n" + "\n".join(f"  adapt-eval {one}" for one in commands)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "ADAPT_EVAL", "help_option_names": ["-h", "--help"]},
    help="Measure fine-tuned models on benchmarks and compare runs with statistical tests.",
    epilog=_examples(
        "run runs/adapt --data-root mirror --allow-code-execution",
        "compare runs/uniform runs/adapt",
    ),
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SuiteOption = Annotated[str, typer.Option(help="A suite's name, or a YAML file of your own.")]
Roots = Annotated[
    list[str] | None,
    typer.Option("--data-root", help="Mirror of datasets in the Hub's layout; repeatable."),
]


def _version(wanted: bool) -> None:
    """Of this package, and of lm-eval, which measures."""
    if wanted:
        from adapt_common.provenance import package_versions

        found = package_versions(("adapt-axolotl", "lm_eval"))
        typer.echo(f"adapt-eval {found['adapt-axolotl']} (lm-eval {found['lm_eval']})")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show tracebacks and the libraries' logs.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of options: {run: {limit: 100}, ...}.")
    ] = None,
) -> None:
    """Reads what holds for all commands."""
    if debug:
        import logging

        os.environ["ADAPT_EVAL_DEBUG"] = "1"
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("adapt_eval").setLevel(logging.DEBUG)
    if config is not None:
        context.default_map = _options_file(config, context)


@app.command(epilog=_examples("suites", "suites ood11 --json"))
def suites(
    name: Annotated[str | None, typer.Argument(help="A suite's name, or a YAML file.")] = None,
    as_json: Json = False,
) -> None:
    """List the suites, or the benchmarks of one.

    Of each benchmark it shows family, metric, what it needs, shots, items, and the scores of
    guessing.
    """
    from adapt_eval.suite import load_suite, suite_names

    if name is None:
        names = suite_names()
        typer.echo(json.dumps(names) if as_json else "\n".join(names))
        return
    suite = load_suite(name)
    if as_json:
        typer.echo(suite.model_dump_json(indent=2))
        return
    from adapt_eval.report.table import suite_table

    typer.echo(suite_table(suite))


@app.command(
    epilog=_examples(
        "run runs/adapt --data-root mirror --allow-code-execution",
        "run runs/adapt --suite tiny --allow-code-execution",
        "run org/model --limit 100 --skip humaneval --skip mbpp",
    )
)
def run(
    run: Annotated[
        str,
        typer.Argument(
            help="Directory of a model, of a PEFT adapter or of a training run, or a name on the "
            "Hub with its owner (org/model)."
        ),
    ],
    suite: SuiteOption = "ood11",
    only: Annotated[
        list[str] | None, typer.Option(help="Measure only this benchmark; repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this benchmark out; repeatable.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Where results go. Default: RUN/eval/SUITE.")
    ] = None,
    data_root: Roots = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Only the first N items of each task, and of each subtask of a group."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="base, or chat, which applies the chat template where answers are generated."
        ),
    ] = "base",
    batch_size: Annotated[str, typer.Option(help="A number, or auto.")] = "auto",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, cpu, mps, or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="auto (the model's own), float32, bfloat16...")
    ] = "auto",
    backend: Annotated[str, typer.Option(help="hf, or vllm where it is installed.")] = "hf",
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run programs that the model writes.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Measure again, and replace finished results.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything but load no model."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on a suite of benchmarks.

    After an interruption the same command continues with the benchmarks that are not finished.
    """
    from adapt_eval.progress import Reporter
    from adapt_eval.report.table import plan_table, scores_table
    from adapt_eval.run import Options, plan, run_suite

    options = Options(
        run=run,
        suite=suite,
        only=only or (),
        skip=skip or (),
        output=output,
        data_roots=data_root or (),
        limit=limit,
        profile=profile,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        backend=backend,
        allow_code_execution=allow_code_execution,
        force=force,
    )
    with Reporter() as reporter:
        if dry_run:
            planned = plan(options, reporter)
            typer.echo(planned.model_dump_json(indent=2) if as_json else plan_table(planned))
        else:
            scores = run_suite(options, reporter)
            typer.echo(scores.model_dump_json(indent=2) if as_json else scores_table(scores))


Arms = Annotated[
    list[str],
    typer.Argument(
        help="Directories that `adapt-eval run` has measured: RUN, NAME=RUN, or NAME=RUN,RUN for "
        "several seeds of one way of training."
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
    str | None, typer.Option(help="Suite to read, if runs were measured on several.")
]


@app.command(
    epilog=_examples(
        "compare runs/uniform runs/adapt",
        "compare uniform=runs/u1,runs/u2 adapt=runs/a1,runs/a2 --json",
        "compare old new --fail-on regression",
    )
)
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
) -> None:
    """Compare runs with a baseline, paired item by item.

    Differences are run minus baseline.
    """
    from adapt_eval.comparison.arms import read_arms
    from adapt_eval.comparison.compare import compare as compare_arms

    if fail_on not in (None, "regression"):
        raise ValueError(f"--fail-on {fail_on}: there is regression")
    arms = read_arms(runs, suite)
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


@app.command(
    epilog=_examples(
        "report runs/uniform runs/adapt",
        "report uniform=runs/uniform adapt=runs/adapt --output adapt.html",
    )
)
def report(
    runs: Arms,
    output: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    baseline: Baseline = None,
    suite: OneSuite = None,
    smallest_effect: Smallest = 0.03,
    allow_differences: Differences = False,
    as_json: Json = False,
) -> None:
    """Write a comparison as one HTML file with plots, without scripts or links."""
    from adapt_eval.comparison.arms import read_arms
    from adapt_eval.comparison.compare import compare as compare_arms
    from adapt_eval.report.page import write_page

    arms = read_arms(runs, suite)
    result = compare_arms(arms, baseline, smallest_effect, allow_differences)
    write_page(output, result, arms)
    typer.echo(json.dumps({"report": str(output)}) if as_json else str(output))


@app.command(epilog=_examples("overlap runs/adapt", "overlap runs/adapt --train data"))
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
    from adapt_eval.comparison.arms import read_run
    from adapt_eval.comparison.overlap import write_overlap
    from adapt_eval.comparison.training_texts import texts_below, training_texts
    from adapt_eval.report.table import overlap_of_run

    measured = read_run(Path(run), suite)
    texts = texts_below(train) if train else training_texts(Path(run))
    found = write_overlap(list(measured.results.values()), texts)
    for one in found.not_read:
        typer.echo(f"not read, so not compared: {one.file}: {one.reason}", err=True)
    typer.echo(found.model_dump_json(indent=2) if as_json else overlap_of_run(found))


@app.command(epilog=_examples("fetch mirror", "fetch mirror --suite mine.yaml"))
def fetch(
    directory: Annotated[
        Path, typer.Argument(help="The mirror to fill, for `adapt-eval run --data-root`.")
    ],
    suite: SuiteOption = "ood11",
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this benchmark out; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy the datasets of a suite from the Hub into DIRECTORY. Needs a network."""
    from adapt_eval.fetch import fill
    from adapt_eval.progress import Reporter
    from adapt_eval.suite import load_suite

    with Reporter() as reporter:
        fill(directory, load_suite(suite).select((), skip or ()), reporter)
    typer.echo(json.dumps({"mirror": str(directory)}) if as_json else str(directory))


def _gate(result: Comparison) -> None:
    worse = [f"{one.run} suite" for one in result.suites if one.verdict == "worse"]
    worse += [f"{one.run} {one.task}" for one in result.benchmarks if one.verdict == "worse"]
    if worse:
        typer.echo(f"adapt-eval: worse: {', '.join(worse)}", err=True)
        raise typer.Exit(GATE_FAILED)


def _options_file(file: Path, context: typer.Context) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"--config {file}: cannot be read: {error}") from error
    assert isinstance(context.command, typer.core.TyperGroup)
    commands = context.command.commands
    if not isinstance(content, dict):
        raise ValueError(f"--config {file}: a mapping of commands to options")
    for name, options in content.items():
        if name not in commands:
            raise ValueError(f"--config {file}: no command {name!r}; {', '.join(commands)}")
        known = {one.name for one in commands[name].params}
        if unknown := sorted(set(options or {}) - known):
            raise ValueError(f"--config {file}: {name} has no option {', '.join(unknown)}")
    return content


def main() -> None:
    """Console script. 0 ok, 1 failed, 2 usage, 3 gate failed, 4 not comparable, 130 interrupted."""
    from click import ClickException

    from adapt_common.argument_help import with_argument_help

    try:
        code = with_argument_help(typer.main.get_command(app))(standalone_mode=False)
    except NotComparable as error:
        _fail(str(error), NOT_COMPARABLE)
    except RunFailed as error:
        _fail(str(error), FAILED)
    except ValueError as error:
        _fail(str(error), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except ClickException as error:
        _fail(error.format_message(), USAGE)
    except OSError as error:
        _fail(f"{error}; see to the file, or give another place", FAILED)
    if code == INTERRUPTED:
        _fail("interrupted; finished benchmarks are kept, the same command continues", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    if os.environ.get("ADAPT_EVAL_DEBUG"):
        import traceback

        traceback.print_exc()
    typer.echo(f"adapt-eval: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
