"""The commands that read a finished run: show, freeze, rows, effects, card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from adapt_axolotl.commands.ending import fail
from adapt_axolotl.commands.new_file import NewFile, print_or_write


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

    print_or_write(frozen(run, "final" if final else "average"), output)


def rows(
    run: Annotated[
        Path, typer.Argument(help="Output directory of a finished run with rows: learned.")
    ],
    output: NewFile = None,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="So many of each kind. Default: all that are doubtful."),
    ] = None,
) -> None:
    """Write the training rows whose losses stayed far above their task's, often wrong answers, and
    as many of those that were learned best: JSON lines with task, the loss expected of the row (in
    deviations from its task's mean), the part of the passes in which it would be drawn, answer and
    text.

    Reads the run's data again, so run it from the folder that the run was started from.
    """
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):  # Axolotl logs to stdout
        from adapt_axolotl.commands.rows import judged_rows

        judged = judged_rows(run, most)
    print_or_write("".join(f"{line}\n" for line in judged.lines), output)
    for task, (count, doubtful) in judged.counts.items():
        typer.echo(f"{task}: {doubtful:,} of {count:,} rows are doubtful", err=True)


def effects(
    run: Annotated[Path, typer.Argument(help="Output directory of a finished run.")],
    target: Annotated[
        list[str] | None,
        typer.Option(help="A task to ask about; repeat it. Default: the recipe's targets."),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(min=16, help="Rows of each task and target at each checkpoint, at most."),
    ] = 64,
) -> None:
    """Measure which task helped which target, at the checkpoints that a run has kept, with standard
    errors. `show`, `card` and mixture.html tell it from then on.

    Loads the model on this process alone, trains nothing, and reads the run's data again, so run it
    from the folder that the run was started from.
    """
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):  # Axolotl logs to stdout
        from adapt_axolotl.commands.effects import measure_effects

        measure_effects(run, target or [], rows)
    from rich.console import Console

    from adapt_axolotl.commands.show import effects_of

    Console().print(effects_of(run))


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
        fail(f"{error} (of adapt-eval compare; a card wants both measured alike)", 4)
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
