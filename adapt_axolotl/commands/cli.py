"""The `adapt-axolotl` command. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Tools around ADAPT runs. Training itself is `axolotl train RECIPE`.",
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from adapt_common.provenance import package_versions

    ours, axolotl = package_versions(("adapt-axolotl", "axolotl")).values()
    beside = "axolotl is not installed" if axolotl is None else f"axolotl {axolotl}"
    typer.echo(f"adapt-axolotl {ours} ({beside})")
    raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Print versions.")
    ] = False,
) -> None:
    """What stands before a command."""


@app.command(epilog="Example: adapt-axolotl tiny data/tiny")
def tiny(
    directory: Annotated[Path, typer.Argument(help="Where to write the model and the data.")],
) -> None:
    """Make the small model and the made instruction mixture that the tiny recipes train on.

    The same files on every machine; needs no network.
    """
    from adapt_axolotl.commands.tiny import write_tiny

    write_tiny(directory)
    typer.echo(f"wrote {directory / 'model'} and {directory / 'data'}", err=True)


@app.command(epilog="Example: adapt-axolotl show runs/adapt_tiny_cpu runs/uniform_tiny_cpu")
def show(
    runs: Annotated[list[Path], typer.Argument(help="Output directories of finished runs.")],
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table instead.")] = False,
) -> None:
    """Put runs side by side: tokens and validation losses of every task."""
    from adapt_axolotl.commands.show import markdown_table, side_by_side

    if markdown:
        typer.echo(markdown_table(runs))
        return
    from rich.console import Console

    Console().print(side_by_side(runs))


TwinMixture = Literal["uniform", "proportional", "temperature", "round_robin"]

NewFile = Annotated[
    Path | None, typer.Option("--output", "-o", help="A new file to write. Default: stdout.")
]


@app.command(epilog="Example: adapt-axolotl freeze runs/adapt_tiny_cpu -o frozen.yml")
def freeze(
    run: Annotated[Path, typer.Argument(help="Output directory of a finished learned run.")],
    output: NewFile = None,
    final: Annotated[
        bool,
        typer.Option("--final/--average", help="The final mixture, or its average over tokens."),
    ] = False,
) -> None:
    """Write a static recipe that draws what a run learned, with plain `mixture: weights`."""
    from adapt_axolotl.commands.freeze import freeze as frozen

    _print_or_write(frozen(run, "final" if final else "average"), output)


@app.command(epilog="Example: adapt-axolotl twin my_adapt.yml --mixture uniform -o my_uniform.yml")
def twin(
    recipe: Annotated[
        Path,
        typer.Argument(help="An ADAPT recipe, or the output directory of a run.", exists=True),
    ],
    mixture: Annotated[TwinMixture, typer.Option(help="The static mixture of the twin.")],
    output: NewFile = None,
) -> None:
    """Write the static twin of a recipe, to compare with: another mixture and output_dir, the same
    budget, data, seed and everything else."""
    from adapt_axolotl.commands.twin import recipe_of, static_twin

    try:
        made = static_twin(recipe_of(recipe), mixture)
    except ValueError as error:
        raise ValueError(f"{recipe}: {error}") from error
    _print_or_write(made.text, output)
    for line in made.changed:
        typer.echo(f"changed  {line}", err=True)
    for key in made.shared:
        typer.echo(f"the same {key}: give the twin one of its own, or remove it", err=True)


@app.command(epilog="Example: adapt-axolotl init my.yml -o my_adapt.yml --token-budget 10%")
def init(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="An Axolotl YAML that trains on several datasets.", exists=True, dir_okay=False
        ),
    ],
    output: NewFile = None,
    token_budget: Annotated[
        str | None,
        typer.Option(help="Supervised tokens to train on: a share, or a number. Default: 5%."),
    ] = None,
) -> None:
    """Turn an Axolotl YAML into an ADAPT recipe: lines are added, none is changed.

    Adds the plugin, its trainer, the `adapt:` block and a task name to each dataset, and says what
    was there already and which keys mean something else here.
    """
    from adapt_axolotl.commands.init import adapt_recipe

    try:
        done = adapt_recipe(recipe.read_bytes().decode(), token_budget)
    except ValueError as error:
        raise ValueError(f"{recipe}: {error}") from error
    _print_or_write(done.text, output)
    for line in done.added:
        typer.echo(f"added    {line}", err=True)
    for line in done.present:
        typer.echo(f"present  {line}", err=True)
    for line in done.meanings:
        typer.echo(f"note     {line}", err=True)


@app.command(epilog="Example: adapt-axolotl plan recipes/adapt_tiny_cpu.yml")
def plan(
    recipe: Annotated[Path, typer.Argument(help="An ADAPT recipe.", exists=True, dir_okay=False)],
    processes: Annotated[
        int, typer.Option(min=1, help="Number of processes (GPUs) that will train together.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast a run: tasks, tokens, optimizer steps, how often rows repeat, what meta steps and
    validation losses cost, and warnings.

    Tokenises the data and keeps it for training; loads no model and needs no GPU. `validate` is
    quicker and lists all mistakes; this command stops at the first.
    """
    import contextlib
    import json
    from dataclasses import asdict

    # Axolotl logs to stdout, which is for the plan.
    with contextlib.redirect_stdout(sys.stderr):
        from adapt_axolotl.commands.preview.forecast import forecast
        from adapt_axolotl.commands.preview.notes import notes
        from adapt_axolotl.commands.preview.table import plan_table
        from adapt_axolotl.commands.preview.warnings import warnings
        from adapt_axolotl.integration.recipe_config import planned_run

        planned = planned_run(recipe, processes)
        run = forecast(planned.plan, planned.tasks, planned.spec.adapt, planned.meta)
    told = notes(run, planned.spec.sequence_len)
    found = [*planned.here, *warnings(run, planned.spec.sequence_len)]
    if as_json:
        typer.echo(json.dumps({**asdict(run), "notes": told, "warnings": found}, indent=2))
        return
    from rich.console import Console

    Console().print(plan_table(run, told, found, recipe.name))


@app.command(epilog="Example: adapt-axolotl card runs/adapt_tiny_cpu --twin runs/uniform_tiny_cpu")
def card(
    run: Annotated[Path, typer.Argument(help="Output directory of a finished run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The card's folder. Default: RUN/card.")
    ] = None,
    twin: Annotated[
        Path | None, typer.Option(help="A run to compare with: its static twin.")
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(help="Upload the folder to this model repository.")
    ] = None,
) -> None:
    """Write a card that lets another person trust, run and improve a recipe.

    README.md with recipe, data, budget, mixture, benchmark results and how to reproduce;
    recipe.yml; mixture.png. Exit code 4: run and twin were not measured the same way.
    """
    from adapt_axolotl.commands.card.evaluation import NotComparable
    from adapt_axolotl.commands.card.folder import push, write_card

    folder = output or run / "card"
    try:
        only_here = write_card(run, folder, twin)
    except NotComparable as error:
        _fail(f"{error} (of adapt-eval compare; a card wants both measured alike)", 4)
    typer.echo(f"wrote {folder / 'README.md'}", err=True)
    if only_here:
        typer.echo(
            f"the recipe that it shares names places of this machine ({', '.join(only_here)}); "
            "in a recipe that others are to run, write them relative, or under datasets with "
            "${VARIABLE}",
            err=True,
        )
    if push_to_hub is not None:
        typer.echo(push(folder, push_to_hub))


@app.command(
    epilog="Example: adapt-axolotl validate recipes/adapt_tiny_cpu.yml theirs.yml --allow uploads"
)
def validate(
    recipes: Annotated[list[Path], typer.Argument(help="ADAPT recipes.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept what a recipe could do beyond training: remote_code, plugins, imports, "
            "paths, uploads, or all; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check recipes without running anything that they name.

    Lists all mistakes at once, in keys, tasks, files and the first rows of local files; what a
    stranger's recipe could do beyond training; and the licences of datasets on the hub. Exit code
    0: all are accepted; 2: one is not.
    """
    import contextlib
    import json
    from dataclasses import asdict

    with contextlib.redirect_stdout(sys.stderr):  # Axolotl logs to stdout
        from adapt_axolotl.commands.validate import validate as judge

        found = [judge(recipe, allow or ()) for recipe in recipes]
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "passed": one.passed} for one in found], indent=2))
    else:
        typer.echo("\n".join(line for one in found for line in one.lines()))
    if not all(one.passed for one in found):
        raise typer.Exit(2)


prepare = typer.Typer(no_args_is_help=True, help="Turn a collection into data for a recipe.")
app.add_typer(prepare, name="prepare")


@prepare.callback()
def prepare_root() -> None:
    """Keeps the collections named when there is only one."""


@prepare.command(
    "natural-instructions",
    epilog="Example: adapt-axolotl prepare natural-instructions --source natural-instructions "
    "--out data/natural_instructions",
)
def natural_instructions(
    source: Annotated[Path, typer.Option(help="Clone of allenai/natural-instructions.")],
    out: Annotated[Path, typer.Option(help="Folder for the data; finished types are kept.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Take this type; repeatable. Default: the largest."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Take the types that are this recipe's tasks.", exists=True, dir_okay=False
        ),
    ] = None,
    largest: Annotated[int, typer.Option(min=2, help="How many of the largest types.")] = 20,
    training_rows: Annotated[int, typer.Option(min=1, help="Of a type, at most.")] = 10_000,
    validation_rows: Annotated[int, typer.Option(min=2, help="Of a type, at most.")] = 500,
    keep_overlap: Annotated[
        bool, typer.Option("--keep-overlap", help="Keep what benchmarks of ood11 were made from.")
    ] = False,
) -> None:
    """Natural Instructions as one task for each type: English, split by input so that nothing
    leaks, with a manifest of counts, licences and hashes, and the datasets: block of a recipe."""
    from rich.console import Console
    from rich.progress import Progress

    from adapt_axolotl.commands.prepare.prepare import prepare as write
    from adapt_axolotl.commands.prepare.selection import Limits
    from adapt_axolotl.recipe.edit import RecipeText
    from adapt_axolotl.recipe.read import task_name
    from adapt_eval.comparison.overlap import matches
    from adapt_eval.suite import load_suite

    wanted = list(types or ())
    if recipe is not None:
        entries = RecipeText(recipe.read_text(encoding="utf-8")).values.get("datasets") or []
        wanted += dict.fromkeys(task_name(entry) for entry in entries)
    names = [name for one in load_suite("ood11").benchmarks for name in one.names]
    with Progress(console=Console(stderr=True)) as bar:
        line = bar.add_task("")
        done = write(
            source,
            out,
            types=wanted,
            largest=largest,
            limits=Limits(training_rows, validation_rows),
            overlaps=lambda name: not keep_overlap and matches(name, names),
            progress=lambda what, number, count: bar.update(
                line, description=what, completed=number, total=count
            ),
        )
    for name, one in done.manifest["types"].items():
        state = "kept " if name in done.kept else "wrote"
        rows = f"{one['train']['rows']:,} + {one['validation']['rows']:,} rows"
        typer.echo(f"{state} {name}: {rows}; licences: {', '.join(one['licences'])}", err=True)
    if done.manifest["too_small"]:
        typer.echo(f"left out, too small: {', '.join(done.manifest['too_small'])}", err=True)
    excluded = done.manifest["excluded"]
    if excluded:
        typer.echo(
            f"left out, made from benchmarks of ood11 (--keep-overlap keeps them): "
            f"{', '.join(excluded)}",
            err=True,
        )
    typer.echo(done.block)


def _print_or_write(text: str, output: Path | None) -> None:
    """Text to stdout, or to a file that does not exist yet."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8", newline="") as file:  # line ends stay as they are
            file.write(text)
    except FileExistsError as error:
        raise ValueError(f"--output {output}: exists; remove it or name another file") from error
    typer.echo(f"wrote {output}", err=True)


def main() -> None:
    """Console script. 0 done, 1 the machine or the network failed, 2 a mistake in what was asked
    for, 130 interrupted; errors are one message, without a traceback."""
    from click import ClickException

    from adapt_common.argument_help import with_argument_help

    try:
        code = with_argument_help(typer.main.get_command(app))(standalone_mode=False)
    except ClickException as error:
        if error.format_message():  # none where the help was shown instead
            _fail(error.format_message(), 2)
        code = 2
    except ValueError as error:
        _fail(str(error), 2)
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        _fail(f"{error.filename}: {error.strerror}; correct the path that was given", 2)
    except OSError as error:
        _fail(f"{error}; see to the file or the network and try again", 1)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"adapt-axolotl: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
