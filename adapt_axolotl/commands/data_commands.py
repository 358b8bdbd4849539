"""The commands that make data for recipes: tiny, prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

prepare = typer.Typer(no_args_is_help=True, help="Turn a collection into data for a recipe.")


def tiny(
    directory: Annotated[Path, typer.Argument(help="Where to write the model and the data.")],
) -> None:
    """Make the small model and the made instruction mixture that the tiny recipes train on.

    The same files on every machine; needs no network.
    """
    from adapt_axolotl.commands.tiny import write_tiny

    write_tiny(directory)
    typer.echo(f"wrote {directory / 'model'} and {directory / 'data'}", err=True)


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
    from adapt_axolotl.recipe.names import task_name
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
